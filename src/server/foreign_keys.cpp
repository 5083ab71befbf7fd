#include "server/foreign_keys.h"

#include "server/query.h"

namespace crmsync {

void check_foreign_keys(bool on) {
    pg::query("SELECT pg_catalog.set_config('session_replication_role', $1, true)",
              std::string_view(on ? "origin" : "replica"));
}

}  // namespace crmsync
