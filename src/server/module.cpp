// Loading of crmsync_engine.so: finds the preloaded library's interface or refuses.
#include "server/postgres/boundary.h"
#include "server/postgres/preload.h"

namespace {

const CrmsyncPreload* interface = nullptr;

}  // namespace

namespace crmsync {

const CrmsyncPreload& preload() noexcept {
    return *interface;
}

}  // namespace crmsync

extern "C" {

#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "crmsync_engine", .version = CRMSYNC_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
    // Without preloading, the library is loaded here for this session only: administration works,
    // workers and the commit's wake-up do not.
    if (*find_rendezvous_variable(CRMSYNC_RENDEZVOUS) == nullptr) {
        load_file("$libdir/crmsync", false);
    }
    interface = static_cast<const CrmsyncPreload*>(*find_rendezvous_variable(CRMSYNC_RENDEZVOUS));
    if (interface == nullptr || interface->version < CRMSYNC_OLDEST_INTERFACE_VERSION) {
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("the preloaded crmsync library is too old for this engine"),
                 errhint("Restart the server so that it loads the installed crmsync library.")));
    }
}
}
