#include "server/postgres/rewritten_relation.h"

#include "server/postgres/query.h"

extern "C" {
#include "access/transam.h"
}

namespace crmsync::pg {

bool has_read_rewritten_relation() {
    // What it has read it has locked. The catalog is read in its snapshot, while the function says
    // which file a relation has now. PostgreSQL's own relations have files that the catalog does
    // not name.
    return !query(
                "SELECT FROM pg_catalog.pg_locks k WHERE k.locktype = 'relation' "
                "AND k.pid = pg_catalog.pg_backend_pid() AND k.relation >= $1::bigint::oid "
                "AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = k.relation "
                "AND c.relfilenode = coalesce(pg_catalog.pg_relation_filenode(k.relation), 0)) "
                "LIMIT 1",
                std::int64_t{FirstNormalObjectId})
                .empty();
}

}  // namespace crmsync::pg
