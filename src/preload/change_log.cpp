#include "preload/change_log.h"

#include "preload/settings.h"
#include "preload/shared_state.h"

namespace crmsync {

namespace {

constexpr int column_count = 3;
constexpr int batch_size = 500;

const char* const log_names[2] = {"change_log_0", "change_log_1"};

// The log, locked; nullptr when it does not exist (any more). wait false: also when somebody holds
// a lock that conflicts.
Relation open_log(Oid schema, int which, bool wait) {
    const Oid relation = get_relname_relid(log_names[which], schema);
    if (!OidIsValid(relation))
        return nullptr;
    if (wait)
        return try_table_open(relation, RowExclusiveLock);
    if (!ConditionalLockRelationOid(relation, RowExclusiveLock))
        return nullptr;
    return try_table_open(relation, NoLock);
}

// Readers read both logs, so a writer need not wait for the one that is being truncated.
Relation open_either_log(Oid schema) {
    const int active = active_log();
    const int candidates[] = {active, 1 - active};
    for (const int which : candidates)
        if (Relation log = open_log(schema, which, false))
            return log;
    return open_log(schema, active, true);
}

void refuse_log(Relation log, const char* detail, const char* hint) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("cannot append to the change log \"%s\"", RelationGetRelationName(log)),
                    errdetail("%s", detail), errhint("%s", hint)));
}

void check_log(Relation log) {
    const Form_pg_class form = log->rd_rel;
    if (form->relkind != RELKIND_RELATION || log->rd_tableam != GetHeapamTableAmRoutine())
        refuse_log(log, "It is not an ordinary heap table.",
                   "Create the extension crmsync anew, or set the table's access method to heap.");
    if (form->relpersistence != RELPERSISTENCE_PERMANENT)
        refuse_log(log, "It is not a permanent, logged table.", "Use ALTER TABLE ... SET LOGGED.");
    if (form->relhasindex && RelationGetIndexList(log) != NIL)
        refuse_log(log, "It has an index.", "Drop the index: the change log must have none.");
    if (OidIsValid(form->reltoastrelid))
        refuse_log(log, "It has a TOAST table.",
                   "Set the storage of its column \"value\" to PLAIN and rewrite the table.");

    constexpr Oid types[column_count] = {XID8OID, INT4OID, TEXTOID};
    const TupleDesc columns = RelationGetDescr(log);
    bool expected = columns->natts == column_count;
    for (int i = 0; expected && i < column_count; i++)
        expected = TupleDescAttr(columns, i)->atttypid == types[i];
    if (!expected)
        refuse_log(log, "Its columns are not those that this version of crmsync writes.",
                   "Restart the server after an update of crmsync, and use ALTER EXTENSION "
                   "crmsync UPDATE.");
}

bool is_full(Relation log) {
    return static_cast<int64>(RelationGetNumberOfBlocks(log)) * BLCKSZ > max_log_size();
}

// One append under way: tuples gather in slots and go to the heap a batch at a time.
class Append {
  public:
    Append(Relation log, uint32 expected)
        : log_(log),
          capacity_(Min(expected, static_cast<uint32>(batch_size))),
          slots_(static_cast<TupleTableSlot**>(palloc(capacity_ * sizeof(TupleTableSlot*)))),
          transaction_(FullTransactionIdGetDatum(GetTopFullTransactionId())),
          command_(GetCurrentCommandId(true)) {
        for (uint32 i = 0; i < capacity_; i++)
            slots_[i] = MakeSingleTupleTableSlot(RelationGetDescr(log), &TTSOpsHeapTuple);
    }

    void add(const Marker& marker, bool everything) {
        const bool has_value = !everything && !marker.everything();
        Datum values[column_count] = {transaction_, Int32GetDatum(marker.capture), 0};
        const bool nulls[column_count] = {false, false, !has_value};
        if (has_value)
            values[2] = PointerGetDatum(cstring_to_text_with_len(marker.value(), marker.length));
        HeapTuple tuple = heap_form_tuple(RelationGetDescr(log_), values, const_cast<bool*>(nulls));
        ExecStoreHeapTuple(tuple, slots_[used_++], true);
        if (has_value)
            pfree(DatumGetPointer(values[2]));
        if (used_ == capacity_)
            write();
    }

    void finish() {
        write();
        for (uint32 i = 0; i < capacity_; i++)
            ExecDropSingleTupleTableSlot(slots_[i]);
        pfree(slots_);
    }

  private:
    void write() {
        if (used_ == 0)
            return;
        heap_multi_insert(log_, slots_, used_, command_, 0, nullptr);
        for (uint32 i = 0; i < used_; i++)
            ExecClearTuple(slots_[i]);
        used_ = 0;
    }

    Relation log_;
    uint32 capacity_;
    uint32 used_ = 0;
    TupleTableSlot** slots_;
    Datum transaction_;
    CommandId command_;
};

bool contains(const int32* captures, uint32 count, int32 capture) {
    for (uint32 i = count; i > 0; i--)
        if (captures[i - 1] == capture)
            return true;
    return false;
}

void append_all(Append& append, const MarkerBuffer& markers) {
    for (const Marker* m = markers.first(); m != nullptr; m = markers.next(m))
        append.add(*m, false);
}

void append_one_per_capture(Append& append, const MarkerBuffer& markers) {
    uint32 count = 0;
    uint32 capacity = 16;
    int32* captures = static_cast<int32*>(palloc(capacity * sizeof(int32)));
    for (const Marker* m = markers.first(); m != nullptr; m = markers.next(m)) {
        if (contains(captures, count, m->capture))
            continue;
        if (count == capacity)
            captures = static_cast<int32*>(repalloc(captures, (capacity *= 2) * sizeof(int32)));
        captures[count++] = m->capture;
        append.add(*m, true);
    }
    pfree(captures);
}

}  // namespace

bool append_to_change_log(Oid schema, const MarkerBuffer& markers) {
    Relation log = open_either_log(schema);
    if (log == nullptr)
        return false;
    check_log(log);

    Append append(log, markers.count());
    if (is_full(log))
        append_one_per_capture(append, markers);
    else
        append_all(append, markers);
    append.finish();
    table_close(log, NoLock);
    return true;
}

}  // namespace crmsync
