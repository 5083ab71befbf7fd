#include "server/unchanged_items.h"

#include <memory>
#include <span>

#include "server/compatibility.h"
#include "server/encoding.h"

extern "C" {
#include "access/genam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "executor/tuptable.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace crmsync {

namespace {

// From here on within a guard: nothing has a destructor.

struct ItemScan {
    Relation items;
    Relation index;
    IndexScanDesc scan;
    TupleTableSlot* slot;
    AttrNumber remote_id;
    AttrNumber change_key;
    AttrNumber state;
};

Datum text_datum(const std::string& text) {
    const pg::Text converted = pg::from_utf8(text.data(), text.size());
    return PointerGetDatum(
        cstring_to_text_with_len(converted.data, static_cast<int>(converted.size)));
}

// Without the index, nothing is found: then every entry is compared at the end.
bool open(ItemScan* items) {
    RangeVar* name = makeRangeVar(pstrdup("crmsync"), pstrdup("item"), -1);
    items->items = table_openrv(name, AccessShareLock);
    const Oid table = RelationGetRelid(items->items);
    const Oid index = get_relname_relid("item_mailbox", RelationGetNamespace(items->items));
    if (!OidIsValid(index) || !get_index_isvalid(index)) {
        table_close(items->items, NoLock);
        return false;
    }
    items->index = index_open(index, AccessShareLock);
    items->slot = table_slot_create(items->items, nullptr);
    PushActiveSnapshot(GetTransactionSnapshot());
    items->scan = begin_index_scan(items->items, items->index, GetActiveSnapshot(), 2);
    items->remote_id = get_attnum(table, "remote_id");
    items->change_key = get_attnum(table, "change_key");
    items->state = get_attnum(table, "state");
    return true;
}

void close(ItemScan* items) {
    index_endscan(items->scan);
    PopActiveSnapshot();
    ExecDropSingleTupleTableSlot(items->slot);
    index_close(items->index, NoLock);
    table_close(items->items, NoLock);
}

bool has(TupleTableSlot* slot, AttrNumber column, Datum text) {
    bool is_null = false;
    const Datum value = slot_getattr(slot, column, &is_null);
    return !is_null && DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, value, text));
}

enum class Found { nothing, changed, unchanged };

Found find(const ItemScan& items, int mailbox, Datum key, Datum change_key, Datum linked) {
    ScanKeyData conditions[2];
    ScanKeyInit(&conditions[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(mailbox));
    ScanKeyInit(&conditions[1], 2, BTEqualStrategyNumber, F_INT4EQ,
                DirectFunctionCall1Coll(hashtext, C_COLLATION_OID, key));
    index_rescan(items.scan, conditions, 2, nullptr, 0);
    while (index_getnext_slot(items.scan, ForwardScanDirection, items.slot)) {
        if (has(items.slot, items.remote_id, key) && has(items.slot, items.state, linked)) {
            return has(items.slot, items.change_key, change_key) ? Found::unchanged
                                                                 : Found::changed;
        }
    }
    return Found::nothing;
}

void look_up(int mailbox, std::span<const std::string> keys,
             std::span<const std::string> change_keys, bool* unchanged, SeenItems* seen) {
    ItemScan items{};
    if (!open(&items)) {
        return;
    }
    const Datum linked = CStringGetTextDatum("linked");
    // Not for the scan, which keeps what it allocates.
    MemoryContext outside = CurrentMemoryContext;
    MemoryContext of_one =
        AllocSetContextCreate(outside, "crmsync item lookup", ALLOCSET_DEFAULT_SIZES);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        MemoryContextSwitchTo(of_one);
        const Datum key = text_datum(keys[i]);
        const Datum change_key = text_datum(change_keys[i]);
        MemoryContextSwitchTo(outside);
        const Found found = find(items, mailbox, key, change_key, linked);
        unchanged[i] = found == Found::unchanged;
        if (found != Found::nothing) {
            ++seen->count;
            seen->hashes ^= DatumGetInt64(
                DirectFunctionCall2Coll(hashtextextended, C_COLLATION_OID, key, Int64GetDatum(0)));
        }
        MemoryContextReset(of_one);
    }
    MemoryContextDelete(of_one);
    close(&items);
}

}  // namespace

std::vector<bool> find_unchanged_items(int mailbox, const pg::TextArray& keys,
                                       const pg::TextArray& change_keys, SeenItems& seen) {
    const auto found = std::make_unique<bool[]>(keys.size());
    bool* const unchanged = found.get();
    const std::span<const std::string> all_keys(keys);
    const std::span<const std::string> all_change_keys(change_keys);
    pg::guard([&] { look_up(mailbox, all_keys, all_change_keys, unchanged, &seen); });
    return std::vector<bool>(unchanged, unchanged + keys.size());
}

bool are_all_items(int mailbox, const SeenItems& seen) {
    const pg::Rows rows = pg::query(
        "SELECT pg_catalog.count(*), "
        "coalesce(pg_catalog.bit_xor(pg_catalog.hashtextextended(remote_id, 0)), 0) "
        "FROM crmsync.item WHERE mailbox = $1 AND state = 'linked'",
        mailbox);
    return rows.integer(0, 0) == seen.count && rows.integer(0, 1) == seen.hashes;
}

}  // namespace crmsync
