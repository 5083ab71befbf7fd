#include "server/postgres/session.h"

#include <algorithm>

#include "server/postgres/preload.h"

extern "C" {
#include "libpq/pqsignal.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
}

namespace crmsync {

namespace {

// Above what configure_session() sets, which stays what the setting is reset to.
void set_lock_timeout(int milliseconds, GucAction action) {
    char text[16];
    pg_ltoa(milliseconds, text);
    (void)set_config_option("lock_timeout", text, PGC_SUSET, PGC_S_SESSION, action, true, 0, false);
}

void leave_if_unwanted(Datum database) {
    const bool held = preload().version >= 3 && preload().is_held(DatumGetObjectId(database));
    if (held || !preload().enabled()) {
        proc_exit(0);
    }
}

}  // namespace

void connect_worker(Datum database) {
    pqsignal(SIGTERM, die);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
}

void connect_run(Datum database) {
    leave_if_unwanted(database);
    connect_worker(database);
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
    leave_if_unwanted(database);
}

void configure_session(const char* lock_timeout) {
    // What COPY is given has been converted (encoding.h); where there is nothing to convert to, it
    // is to be UTF-8.
    const char* encoding =
        GetDatabaseEncoding() == PG_SQL_ASCII ? "UTF8" : GetDatabaseEncodingName();
    const char* settings[][2] = {
        {"lock_timeout", lock_timeout},
        // Of two transactions that wait for each other the one ends that looks first: ours.
        {"deadlock_timeout", "50ms"},
        {"search_path", "pg_catalog, pg_temp"},
        {"client_encoding", encoding},
        {"datestyle", "ISO, YMD"},
        {"intervalstyle", "postgres"},
        {"timezone", "UTC"},
        {"extra_float_digits", "1"},
        {"bytea_output", "hex"},
        // As expressions are checked with (58-dependency.sql).
        {"standard_conforming_strings", "on"},
        {"default_transaction_read_only", "off"},
        // Many small statements: compiling them, or starting processes for them, costs more.
        {"jit", "off"},
        {"max_parallel_workers_per_gather", "0"},
    };
    pg::guard([&] {
        for (auto& setting : settings) {
            SetConfigOption(setting[0], setting[1], PGC_SUSET, PGC_S_OVERRIDE);
        }
        // It ends the process, and version 15 does not know it. Queries have limits of ours.
        if (GetConfigOption("transaction_timeout", true, false) != nullptr) {
            SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
        }
    });
}

LockTimeout::LockTimeout(std::chrono::milliseconds longest) : before_(::LockTimeout) {
    const int milliseconds = static_cast<int>(longest.count());
    pg::guard([&] { set_lock_timeout(milliseconds, GUC_ACTION_SET); });
}

LockTimeout::~LockTimeout() {
    pg::guard_cleanup([&] { set_lock_timeout(before_, GUC_ACTION_SET); });
}

LocalLockTimeout::LocalLockTimeout(std::optional<std::chrono::milliseconds> longest)
    : before_(::LockTimeout) {
    const int milliseconds = longest ? static_cast<int>(longest->count()) : -1;
    pg::guard([&] {
        if (milliseconds >= 0) {
            set_lock_timeout(milliseconds, GUC_ACTION_LOCAL);
        } else {
            (void)set_config_option("lock_timeout", nullptr, PGC_SUSET, PGC_S_SESSION,
                                    GUC_ACTION_LOCAL, true, 0, false);
        }
    });
}

void LocalLockTimeout::end() const {
    pg::guard([&] { set_lock_timeout(before_, GUC_ACTION_LOCAL); });
}

void prefer_indexes() {
    pg::guard([] { SetConfigOption("enable_seqscan", "off", PGC_SUSET, PGC_S_OVERRIDE); });
}

void rest(std::chrono::milliseconds pause) {
    constexpr std::chrono::milliseconds slice{200};
    while (pause.count() > 0) {
        const long milliseconds = static_cast<long>(std::min(pause, slice).count());
        pg::guard([&] {
            (void)WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
                            PG_WAIT_EXTENSION);
        });
        pg::check_interrupts();
        pause -= slice;
    }
}

}  // namespace crmsync
