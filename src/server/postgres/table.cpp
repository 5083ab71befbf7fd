#include "server/postgres/table.h"

#include <string_view>

#include "server/postgres/compatibility.h"
#include "server/postgres/query.h"

extern "C" {
#include "access/table.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace crmsync::pg {

void empty_table(Oid table) {
    guard([&] {
        Relation relation = table_open(table, AccessExclusiveLock);
        CheckTableNotInUse(relation, "TRUNCATE");
        PushActiveSnapshot(GetTransactionSnapshot());
        truncate_unpublished(list_make1(relation), list_make1_oid(table));
        PopActiveSnapshot();
        table_close(relation, NoLock);
    });
}

std::int64_t blocks_of(const std::string& table) {
    return query(
               "SELECT pg_catalog.pg_relation_size($1::text::pg_catalog.regclass) "
               "/ pg_catalog.current_setting('block_size')::bigint",
               std::string_view(table))
        .integer(0, 0);
}

}  // namespace crmsync::pg
