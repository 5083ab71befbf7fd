// The row trigger on CRM relations: decides whether a relevant column changed and, if so, marks the
// record. It must be cheap, and must never make the CRM's statement fail because of us: what it
// does not understand any more (a column that was dropped, a value too long for the log) it
// reports as a change, of everything if need be.
//
// It fires AFTER, although BEFORE would spare the queue of events: only then is what it sees what
// was written, after all BEFORE triggers, with stored generated columns, and without the rows that
// ON CONFLICT DO NOTHING left out.
//
// Arguments of the trigger: capture id, column that names the record ('' for none), relevant
// columns ('*' for all). What follows from them is kept per trigger and backend, until the
// relation's definition changes.
#include "preload/marker_buffer.h"
#include "preload/transaction.h"

namespace crmsync {

namespace {

// Longer values are not worth their place in the log, and too long for keys
// (server/configuration/record_key.h).
constexpr int32 longest_value = 1000;

enum class TextForm { as_is, cast, output };

struct CapturedTrigger {
    Oid trigger;  // hash key
    Oid relation;
    bool valid;
    Oid schema;
    int32 capture;
    AttrNumber column;  // 0: none, every change is one of everything
    TextForm text_form;
    FmgrInfo text_function;
    AttrNumber last;       // the last relevant column; tuples are deformed up to here
    int count;             // of relevant
    AttrNumber* relevant;  // in ascending order
    MemoryContext memory;
};

HTAB* triggers = nullptr;
CapturedTrigger* last_used = nullptr;

void forget_definition(Datum, Oid relation) {
    if (triggers == nullptr)
        return;
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, triggers);
    while (auto* trigger = static_cast<CapturedTrigger*>(hash_seq_search(&scan)))
        if (!OidIsValid(relation) || trigger->relation == relation)
            trigger->valid = false;
}

void create_cache() {
    HASHCTL control = {};
    control.keysize = sizeof(Oid);
    control.entrysize = sizeof(CapturedTrigger);
    control.hcxt = TopMemoryContext;
    triggers = hash_create("crmsync captured triggers", 32, &control,
                           HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    CacheRegisterRelcacheCallback(forget_definition, 0);
}

AttrNumber find_column(TupleDesc columns, const char* name) {
    for (int i = 0; i < columns->natts; i++) {
        const Form_pg_attribute column = TupleDescAttr(columns, i);
        if (!column->attisdropped && strcmp(NameStr(column->attname), name) == 0)
            return column->attnum;
    }
    return InvalidAttrNumber;
}

// A virtual generated column has no value in a trigger: as good as gone where a value is needed.
AttrNumber find_readable_column(TupleDesc columns, const char* name) {
    const AttrNumber column = find_column(columns, name);
    if (column == InvalidAttrNumber || !is_computed_when_read(columns, column))
        return column;
    return InvalidAttrNumber;
}

bool is_named(const Trigger* definition, int first, const char* name) {
    for (int i = first; i < definition->tgnargs; i++)
        if (strcmp(definition->tgargs[i], name) == 0)
            return true;
    return false;
}

// Columns are matched by name here. One that is gone makes all relevant: an expression or view that
// read it may now read anything else.
Bitmapset* relevant_columns(const CapturedTrigger* trigger, const Trigger* definition,
                            TupleDesc columns) {
    const bool column_is_gone = definition->tgnargs > 1 && definition->tgargs[1][0] != '\0' &&
                                trigger->column == InvalidAttrNumber;
    bool all = column_is_gone || is_named(definition, 2, "*");
    for (int i = 2; i < definition->tgnargs && !all; i++)
        all = find_column(columns, definition->tgargs[i]) == InvalidAttrNumber;

    Bitmapset* relevant = nullptr;
    for (int i = 0; i < columns->natts; i++) {
        const Form_pg_attribute column = TupleDescAttr(columns, i);
        if (column->attisdropped)
            continue;
        if (all || column->attnum == trigger->column ||
            is_named(definition, 2, NameStr(column->attname))) {
            relevant =
                bms_add_member(relevant, column->attnum - FirstLowInvalidHeapAttributeNumber);
            relevant = bms_join(relevant, computed_from(columns, column->attnum));
        }
    }
    return relevant;
}

void find_relevant(CapturedTrigger* trigger, const Trigger* definition, TupleDesc columns) {
    Bitmapset* relevant = relevant_columns(trigger, definition, columns);
    trigger->relevant = static_cast<AttrNumber*>(
        MemoryContextAlloc(trigger->memory, Max(columns->natts, 1) * sizeof(AttrNumber)));
    trigger->count = 0;
    // From the first column on: what a computed one reads may be tableoid, which no update changes.
    for (int member = -FirstLowInvalidHeapAttributeNumber;
         (member = bms_next_member(relevant, member)) >= 0;)
        trigger->relevant[trigger->count++] = member + FirstLowInvalidHeapAttributeNumber;
    trigger->last = trigger->count > 0 ? trigger->relevant[trigger->count - 1] : 0;
    bms_free(relevant);
}

// How column::text comes about: that is the form in which records are known everywhere else.
void find_text_form(CapturedTrigger* trigger, TupleDesc columns) {
    const Oid type = getBaseType(TupleDescAttr(columns, trigger->column - 1)->atttypid);
    Oid function = InvalidOid;
    switch (find_coercion_pathway(TEXTOID, type, COERCION_EXPLICIT, &function)) {
        case COERCION_PATH_RELABELTYPE:
            trigger->text_form = TextForm::as_is;
            return;
        case COERCION_PATH_FUNC:
            fmgr_info_cxt(function, &trigger->text_function, trigger->memory);
            if (trigger->text_function.fn_nargs == 1) {
                trigger->text_form = TextForm::cast;
                return;
            }
            break;
        default:
            break;
    }
    bool is_varlena;
    getTypeOutputInfo(type, &function, &is_varlena);
    fmgr_info_cxt(function, &trigger->text_function, trigger->memory);
    trigger->text_form = TextForm::output;
}

int32 capture_id(const Trigger* definition) {
    if (definition->tgnargs < 1)
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("trigger \"%s\" lacks the capture's id", definition->tgname),
                        errhint("Triggers of crmsync are created by crmsync.enable_link().")));
    return pg_strtoint32(definition->tgargs[0]);
}

void understand(CapturedTrigger* trigger, const TriggerData* data, Oid function) {
    const Trigger* definition = data->tg_trigger;
    const TupleDesc columns = RelationGetDescr(data->tg_relation);
    if (trigger->memory == nullptr)
        trigger->memory = AllocSetContextCreate(TopMemoryContext, "crmsync captured trigger",
                                                ALLOCSET_SMALL_SIZES);
    MemoryContextReset(trigger->memory);
    trigger->relation = RelationGetRelid(data->tg_relation);
    trigger->schema = get_func_namespace(function);
    trigger->capture = capture_id(definition);
    trigger->column = InvalidAttrNumber;
    if (definition->tgnargs > 1)
        trigger->column = find_readable_column(columns, definition->tgargs[1]);
    if (trigger->column != InvalidAttrNumber)
        find_text_form(trigger, columns);
    find_relevant(trigger, definition, columns);
    trigger->valid = true;
}

CapturedTrigger* find_trigger(const TriggerData* data, Oid function) {
    const Oid oid = data->tg_trigger->tgoid;
    if (last_used != nullptr && last_used->trigger == oid && last_used->valid)
        return last_used;
    if (triggers == nullptr)
        create_cache();
    bool found;
    auto* trigger = static_cast<CapturedTrigger*>(hash_search(triggers, &oid, HASH_ENTER, &found));
    if (!found) {
        trigger->valid = false;
        trigger->memory = nullptr;
    }
    if (!trigger->valid)
        understand(trigger, data, function);
    last_used = trigger;
    return trigger;
}

bool same_value(const TupleTableSlot* before, const TupleTableSlot* after, AttrNumber number) {
    const int i = number - 1;
    if (before->tts_isnull[i] || after->tts_isnull[i])
        return before->tts_isnull[i] == after->tts_isnull[i];
    const Form_pg_attribute column = TupleDescAttr(before->tts_tupleDescriptor, i);
    return datumIsEqual(before->tts_values[i], after->tts_values[i], column->attbyval,
                        column->attlen);
}

// Compares the bytes as they are stored. A TOAST pointer stays the same unless the value was
// assigned anew; that then counts as a change, which is harmless.
bool is_relevant_update(const CapturedTrigger* trigger, TupleTableSlot* before,
                        TupleTableSlot* after) {
    if (trigger->last > 0) {
        slot_getsomeattrs(before, trigger->last);
        slot_getsomeattrs(after, trigger->last);
    }
    for (int i = 0; i < trigger->count; i++)
        if (!same_value(before, after, trigger->relevant[i]))
            return true;
    return false;
}

void mark_text(const CapturedTrigger* trigger, const char* value, int32 length) {
    if (length > longest_value)
        mark_change(trigger->schema, trigger->capture, nullptr, MarkerBuffer::everything);
    else
        mark_change(trigger->schema, trigger->capture, value, length);
}

void mark_record(CapturedTrigger* trigger, TupleTableSlot* row) {
    if (trigger->column == InvalidAttrNumber) {
        mark_change(trigger->schema, trigger->capture, nullptr, MarkerBuffer::everything);
        return;
    }
    bool is_null;
    Datum value = slot_getattr(row, trigger->column, &is_null);
    if (is_null)
        return;  // names no record
    if (trigger->text_form == TextForm::output) {
        const char* text = OutputFunctionCall(&trigger->text_function, value);
        mark_text(trigger, text, static_cast<int32>(strlen(text)));
        return;
    }
    if (trigger->text_form == TextForm::cast)
        value = FunctionCall1Coll(&trigger->text_function, DEFAULT_COLLATION_OID, value);
    const struct varlena* text = PG_DETOAST_DATUM_PACKED(value);
    mark_text(trigger, VARDATA_ANY(text), static_cast<int32>(VARSIZE_ANY_EXHDR(text)));
}

void refuse_call(const char* function, const char* expected) {
    ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                    errmsg("function \"%s\" must be called %s", function, expected)));
}

void capture_row(const TriggerData* data, Oid function) {
    CapturedTrigger* trigger = find_trigger(data, function);
    TupleTableSlot* row = data->tg_trigslot;
    if (TRIGGER_FIRED_BY_UPDATE(data->tg_event)) {
        TupleTableSlot* after = data->tg_newslot;
        if (!is_relevant_update(trigger, row, after))
            return;
        if (trigger->column != InvalidAttrNumber && !same_value(row, after, trigger->column))
            mark_record(trigger, row);
        row = after;
    }
    mark_record(trigger, row);
}

}  // namespace

}  // namespace crmsync

extern "C" {

PG_FUNCTION_INFO_V1(crmsync_capture);
PGDLLEXPORT Datum crmsync_capture(PG_FUNCTION_ARGS) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        crmsync::refuse_call("capture", "as a trigger");
    const auto* data = reinterpret_cast<const TriggerData*>(fcinfo->context);
    if (!TRIGGER_FIRED_AFTER(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event))
        crmsync::refuse_call("capture", "after each row");
    crmsync::capture_row(data, fcinfo->flinfo->fn_oid);
    return PointerGetDatum(nullptr);
}

PG_FUNCTION_INFO_V1(crmsync_capture_all);
PGDLLEXPORT Datum crmsync_capture_all(PG_FUNCTION_ARGS) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        crmsync::refuse_call("capture_all", "as a trigger");
    const auto* data = reinterpret_cast<const TriggerData*>(fcinfo->context);
    if (!TRIGGER_FIRED_FOR_STATEMENT(data->tg_event))
        crmsync::refuse_call("capture_all", "for each statement");
    crmsync::mark_change(get_func_namespace(fcinfo->flinfo->fn_oid),
                         crmsync::capture_id(data->tg_trigger), nullptr,
                         crmsync::MarkerBuffer::everything);
    return PointerGetDatum(nullptr);
}
}
