#include "preload/database_list.h"

namespace crmsync {

void DatabaseList::read() {
    for (Database& database : *this)
        database.listed = false;

    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
    Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
    TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
    while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
        const auto* form = reinterpret_cast<const FormData_pg_database*>(GETSTRUCT(tuple));
        if (form->datallowconn && !form->datistemplate &&
            form->datconnlimit != DATCONNLIMIT_INVALID_DB)
            note(form->oid, NameStr(form->datname));
    }
    table_endscan(scan);
    table_close(catalog, AccessShareLock);
    PopActiveSnapshot();
    CommitTransactionCommand();
}

void DatabaseList::remove(Database* database) {
    if (database->handle != nullptr)
        pfree(database->handle);
    *database = entries_[--count_];
}

void DatabaseList::note(Oid oid, const char* name) {
    for (Database& known : *this) {
        if (known.oid != oid)
            continue;
        known.listed = true;
        strlcpy(known.name, name, NAMEDATALEN);
        return;
    }
    if (count_ == capacity_) {
        const int capacity = capacity_ == 0 ? 16 : capacity_ * 2;
        const Size size = capacity * sizeof(Database);
        entries_ =
            static_cast<Database*>(entries_ == nullptr ? MemoryContextAlloc(TopMemoryContext, size)
                                                       : repalloc(entries_, size));
        capacity_ = capacity;
    }
    Database* added = &entries_[count_++];
    *added = {};
    added->oid = oid;
    added->listed = true;
    strlcpy(added->name, name, NAMEDATALEN);
}

}  // namespace crmsync
