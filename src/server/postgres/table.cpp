#include "server/postgres/table.h"

#include "server/postgres/compatibility.h"

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

}  // namespace crmsync::pg
