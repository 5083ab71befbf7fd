// Loading of crmsync.so: by shared_preload_libraries in the postmaster, or, when it was not
// preloaded, by the first session that needs it. The latter can capture changes and be
// administered; there are no workers then and so nobody to wake.
#include "preload/compatibility.h"
#include "preload/interface.h"
#include "preload/launcher.h"
#include "preload/progress.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "preload/statement.h"
#include "preload/transaction.h"
#include "preload/worker.h"

namespace crmsync {

namespace {

const CrmsyncPreload interface = {
    .version = CRMSYNC_INTERFACE_VERSION,
    .enabled = enabled,
    .environment = environment,
    .secret_directory = secret_directory,
    .allowed_hosts = allowed_hosts,
    .fail_guarded_call = fail_guarded_call,
    .attach_worker = attach_worker,
    .wake_worker = wake_worker,
    .request_sync = request_sync,
    .take_requests = take_requests,
    .set_progress = set_progress,
    .get_progress = get_progress,
    .active_log = active_log,
    .set_active_log = set_active_log,
    .max_log_size = max_log_size,
    .query_timeout = query_timeout,
    .long_query_timeout = long_query_timeout,
    .take_wakeup = take_wakeup,
    .max_history_size = max_history_size,
    .max_create_delay = max_create_delay,
    .is_held = is_held,
    .await_update = await_update,
};

}  // namespace

}  // namespace crmsync

extern "C" {

#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "crmsync", .version = CRMSYNC_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void) {
    crmsync::define_settings();
    *find_rendezvous_variable(CRMSYNC_RENDEZVOUS) =
        const_cast<CrmsyncPreload*>(&crmsync::interface);
    crmsync::register_transaction_callbacks();
    if (!process_shared_preload_libraries_in_progress)
        return;
    crmsync::install_shared_memory_hooks();
    crmsync::register_worker_callbacks();
    crmsync::install_statement_hook();
    if (!IsBinaryUpgrade)
        crmsync::register_launcher();
}
}
