#include "server/query.h"

#include <unordered_map>

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "postmaster/bgworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
}

#include "server/encoding.h"
#include "server/preload.h"

namespace crmsync::pg {

namespace {

// The parameters as PostgreSQL's plain data, made inside the guard.
struct PlainParameters {
    int count;
    Oid* types;
    Datum* values;
    char* nulls;
};

Datum text_datum(std::string_view text) {
    const Text converted = from_utf8(text.data(), text.size());
    return PointerGetDatum(
        cstring_to_text_with_len(converted.data, static_cast<int>(converted.size)));
}

Datum array_datum(Datum* values, bool* nulls, int count, Oid type, int length, bool by_value,
                  char align) {
    int dimensions[1] = {count};
    int lower_bounds[1] = {1};
    if (count == 0) {
        return PointerGetDatum(construct_empty_array(type));
    }
    return PointerGetDatum(construct_md_array(values, nulls, 1, dimensions, lower_bounds, type,
                                              length, by_value, align));
}

JsonbValue json_string(std::string_view text) {
    const Text converted = from_utf8(text.data(), text.size());
    JsonbValue value;
    value.type = jbvString;
    value.val.string.val = const_cast<char*>(converted.data);
    value.val.string.len = static_cast<int>(converted.size);
    return value;
}

Datum jsonb_datum(const JsonbArray::Document& document) {
    JsonbParseState* state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    for (const auto& [key, text] : document) {
        JsonbValue name = json_string(key);
        pushJsonbValue(&state, WJB_KEY, &name);
        JsonbValue value;
        if (text) {
            value = json_string(*text);
        } else {
            value.type = jbvNull;
        }
        pushJsonbValue(&state, WJB_VALUE, &value);
    }
    return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)));
}

// One overload for each alternative of Parameter; each fills in type, value and NULL.
struct Slot {
    Oid* type;
    Datum* value;
    char* null;
};

void put(Slot slot, std::monostate) {
    *slot.type = TEXTOID;
    *slot.null = 'n';
}

void put(Slot slot, bool value) {
    *slot.type = BOOLOID;
    *slot.value = BoolGetDatum(value);
}

void put(Slot slot, std::int32_t value) {
    *slot.type = INT4OID;
    *slot.value = Int32GetDatum(value);
}

void put(Slot slot, std::int64_t value) {
    *slot.type = INT8OID;
    *slot.value = Int64GetDatum(value);
}

void put(Slot slot, std::string_view value) {
    *slot.type = TEXTOID;
    *slot.value = text_datum(value);
}

template <class Element, class Make>
void put_array(Slot slot, const std::vector<Element>& list, Oid array_type, Oid type, int length,
               bool by_value, char align, Make make) {
    const int count = static_cast<int>(list.size());
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (list.size() + 1)));
    auto* nulls = static_cast<bool*>(palloc(list.size() + 1));
    for (int i = 0; i < count; ++i) {
        nulls[i] = !make(list[static_cast<std::size_t>(i)], &values[i]);
    }
    *slot.type = array_type;
    *slot.value = array_datum(values, nulls, count, type, length, by_value, align);
}

template <class Text>
void put_texts(Slot slot, const std::vector<Text>& list) {
    put_array(slot, list, TEXTARRAYOID, TEXTOID, -1, false, TYPALIGN_INT,
              [](std::string_view text, Datum* value) {
                  *value = text_datum(text);
                  return true;
              });
}

void put(Slot slot, const TextArray* list) {
    put_texts(slot, *list);
}

void put(Slot slot, const TextViewArray* list) {
    put_texts(slot, *list);
}

void put(Slot slot, const NullableTextArray* list) {
    put_array(slot, *list, TEXTARRAYOID, TEXTOID, -1, false, TYPALIGN_INT,
              [](const std::optional<std::string>& text, Datum* value) {
                  *value = text ? text_datum(*text) : Datum(0);
                  return text.has_value();
              });
}

void put(Slot slot, const IntegerArray* list) {
    put_array(slot, *list, INT4ARRAYOID, INT4OID, 4, true, TYPALIGN_INT,
              [](std::int32_t number, Datum* value) {
                  *value = Int32GetDatum(number);
                  return true;
              });
}

void put(Slot slot, const BigintArray* list) {
    put_array(slot, *list, INT8ARRAYOID, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
              [](std::int64_t number, Datum* value) {
                  *value = Int64GetDatum(number);
                  return true;
              });
}

void put(Slot slot, const JsonbArray* list) {
    put_array(slot, list->documents, JSONBARRAYOID, JSONBOID, -1, false, TYPALIGN_INT,
              [](const std::optional<JsonbArray::Document>& document, Datum* value) {
                  *value = document ? jsonb_datum(*document) : Datum(0);
                  return document.has_value();
              });
}

// std::visit may throw, which nothing may inside a guard; the index says the same.
template <std::size_t... Index>
void put(Slot slot, const Parameter& parameter, std::index_sequence<Index...>) {
    ((parameter.index() == Index ? put(slot, *std::get_if<Index>(&parameter)) : void()), ...);
}

PlainParameters plain(std::span<const Parameter> parameters) {
    const std::size_t count = parameters.size();
    PlainParameters result;
    result.count = static_cast<int>(count);
    result.types = static_cast<Oid*>(palloc0(sizeof(Oid) * (count + 1)));
    result.values = static_cast<Datum*>(palloc0(sizeof(Datum) * (count + 1)));
    result.nulls = static_cast<char*>(palloc0(count + 1));
    for (std::size_t i = 0; i < count; ++i) {
        result.nulls[i] = ' ';
        put(Slot{&result.types[i], &result.values[i], &result.nulls[i]}, parameters[i],
            std::make_index_sequence<std::variant_size_v<Parameter>>());
    }
    return result;
}

Rows::Cell text_cell(const char* data, std::size_t size) {
    const Text converted = to_utf8(data, size);
    return {converted.data, static_cast<std::int64_t>(converted.size)};
}

Rows::Cell cell_of(Datum value, Oid type) {
    switch (type) {
        case BOOLOID:
            return {Rows::Cell::is_number, DatumGetBool(value) ? 1 : 0};
        case INT2OID:
            return {Rows::Cell::is_number, DatumGetInt16(value)};
        case INT4OID:
            return {Rows::Cell::is_number, DatumGetInt32(value)};
        case INT8OID:
            return {Rows::Cell::is_number, DatumGetInt64(value)};
        case OIDOID:
            return {Rows::Cell::is_number, static_cast<std::int64_t>(DatumGetObjectId(value))};
        case TEXTOID: {
            struct varlena* copy = PG_DETOAST_DATUM_COPY(value);
            return text_cell(VARDATA(copy), VARSIZE(copy) - VARHDRSZ);
        }
        case JSONBOID: {
            struct varlena* copy = PG_DETOAST_DATUM_COPY(value);
            return {reinterpret_cast<char*>(copy), VARSIZE(copy) - VARHDRSZ};
        }
        default: {
            Oid output;
            bool is_varlena;
            getTypeOutputInfo(type, &output, &is_varlena);
            const char* text = OidOutputFunctionCall(output, value);
            return text_cell(text, strlen(text));
        }
    }
}

// Copies the rows of SPI's last result into the context.
Rows::Cell* copy_rows(MemoryContext context, int* columns) {
    TupleDesc description = SPI_tuptable->tupdesc;
    *columns = description->natts;
    const std::uint64_t count = SPI_processed;
    MemoryContext old = MemoryContextSwitchTo(context);
    auto* cells = static_cast<Rows::Cell*>(MemoryContextAllocHuge(
        context, sizeof(Rows::Cell) * (count * static_cast<std::uint64_t>(*columns) + 1)));
    Rows::Cell* next = cells;
    for (std::uint64_t row = 0; row < count; ++row) {
        HeapTuple tuple = SPI_tuptable->vals[row];
        for (int column = 1; column <= *columns; ++column) {
            bool null;
            const Datum value = SPI_getbinval(tuple, description, column, &null);
            *next++ = null ? Rows::Cell{nullptr, 0}
                           : cell_of(value, TupleDescAttr(description, column - 1)->atttypid);
        }
    }
    MemoryContextSwitchTo(old);
    return cells;
}

// Plans by statement text. Never destroyed: exit() must not run destructors after PostgreSQL's own
// shutdown.
std::unordered_map<std::string, SPIPlanPtr>& plans() {
    static auto* map = new std::unordered_map<std::string, SPIPlanPtr>;
    return *map;
}

// Queries under way: what one runs may call functions of ours, which run others.
int queries_under_way = 0;

struct Depth {
    Depth() { ++queries_under_way; }
    ~Depth() { --queries_under_way; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
};

// Links come and go with their own texts: start over rather than grow for ever.
void forget_plans() {
    auto& all = plans();
    for (auto it = all.begin(); it != all.end(); it = all.erase(it)) {
        SPIPlanPtr plan = it->second;
        guard([&] { SPI_freeplan(plan); });
    }
}

SPIPlanPtr kept_plan(const std::string& text) {
    if (plans().size() > 1000 && queries_under_way == 1) {
        forget_plans();
    }
    const auto kept = plans().find(text);
    return kept == plans().end() ? nullptr : kept->second;
}

// plan: nullptr when there is none to keep.
void keep(const std::string& text, SPIPlanPtr plan) {
    if (plan != nullptr && !plans().emplace(text, plan).second && plans().at(text) != plan) {
        // A query within this one has come first.
        guard_cleanup([&] { SPI_freeplan(plan); });
    }
}

struct Unit {
    const char* sql;
    std::span<const Parameter> parameters;
    QueryOptions options;
    SPIPlanPtr plan;  // in: kept plan or null; out: the plan to keep or null
    MemoryContext context;
    Rows::Cell* cells;
    int columns;
    std::uint64_t processed;
    bool timed;  // a timeout runs
};

bool long_queries_allowed = false;

// Milliseconds; 0: as long as it takes.
int longest(const QueryOptions& options) {
    if (options.longest.count() > 0) {
        return static_cast<int>(options.longest.count());
    }
    return long_queries_allowed ? preload().long_query_timeout() : preload().query_timeout();
}

// The whole statement, in PostgreSQL's own way: nothing here has a destructor.
void run(Unit* unit) {
    MemoryContext outside = CurrentMemoryContext;
    MemoryContext work = AllocSetContextCreate(outside, "crmsync query", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(work);
    prepare_encoding();
    PlainParameters parameters = plain(unit->parameters);

    Oid saved_user = InvalidOid;
    int saved_context = 0;
    int guc_level = -1;
    const bool restricted = OidIsValid(unit->options.owner);
    if (restricted) {
        GetUserIdAndSecContext(&saved_user, &saved_context);
        SetUserIdAndSecContext(unit->options.owner, saved_context | SECURITY_RESTRICTED_OPERATION);
        guc_level = NewGUCNestLevel();
        set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
                          0, false);
        set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
                          GUC_ACTION_SAVE, true, 0, false);
        if (!enable_seqscan) {  // see prefer_indexes()
            set_config_option("enable_seqscan", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                              true, 0, false);
        }
    }
    // Nobody waits for a worker's statements, so nobody would cancel what never ends.
    const int timeout = restricted && MyBgworkerEntry != nullptr ? longest(unit->options) : 0;
    if (timeout > 0) {
        enable_timeout_after(STATEMENT_TIMEOUT, timeout);
        unit->timed = true;
    }
    // Functions are called with a snapshot in place; a worker has none until it takes one.
    const bool own_snapshot = !ActiveSnapshotSet();
    if (own_snapshot) {
        PushActiveSnapshot(GetTransactionSnapshot());
    }
    SPI_connect();
    SPIPlanPtr plan = unit->plan;
    if (plan == nullptr) {
        plan = SPI_prepare(from_utf8(unit->sql), parameters.count, parameters.types);
        if (plan == nullptr) {
            ereport(ERROR,
                    (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not prepare a statement: %s",
                                                             SPI_result_code_string(SPI_result))));
        }
        if (!unit->options.once) {
            SPI_keepplan(plan);
            unit->plan = plan;
        }
    }
    const int result = SPI_execute_plan(plan, parameters.values, parameters.nulls, false, 0);
    if (result < 0) {
        ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                        errmsg("could not run a statement: %s", SPI_result_code_string(result))));
    }
    unit->processed = SPI_processed;
    if (SPI_tuptable != nullptr) {
        unit->cells = copy_rows(unit->context, &unit->columns);
    }
    SPI_finish();
    if (own_snapshot) {
        PopActiveSnapshot();
    }
    if (timeout > 0) {
        disable_timeout(STATEMENT_TIMEOUT, false);
    }
    if (restricted) {
        AtEOXact_GUC(false, guc_level);
        SetUserIdAndSecContext(saved_user, saved_context);
    }
    MemoryContextSwitchTo(outside);
    MemoryContextDelete(work);
}

}  // namespace

void allow_long_queries() noexcept {
    long_queries_allowed = true;
}

Rows query(std::string_view sql, std::span<const Parameter> parameters, QueryOptions options) {
    std::string text(sql);
    Rows rows;
    rows.context_ = guard([] {
        return AllocSetContextCreate(TopMemoryContext, "crmsync rows", ALLOCSET_DEFAULT_SIZES);
    });
    const Depth depth;
    Unit unit{text.c_str(),  parameters, options, options.once ? nullptr : kept_plan(text),
              rows.context_, nullptr,    0,       0,
              false};
    try {
        guard([&] { run(&unit); });
    } catch (...) {
        // What follows in a subtransaction's place has its own time.
        if (unit.timed) {
            guard_cleanup([] { disable_timeout(STATEMENT_TIMEOUT, false); });
        }
        keep(text, unit.plan);
        throw;
    }
    keep(text, unit.plan);
    rows.cells_ = unit.cells;
    rows.columns_ = unit.columns;
    rows.processed_ = unit.processed;
    return rows;
}

Rows::~Rows() {
    if (context_ != nullptr) {
        MemoryContextDelete(context_);
    }
}

void Rows::swap(Rows& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(cells_, other.cells_);
    std::swap(columns_, other.columns_);
    std::swap(processed_, other.processed_);
}

bool Rows::is_null(std::uint64_t row, int column) const noexcept {
    return cells_[row * static_cast<std::uint64_t>(columns_) + static_cast<std::uint64_t>(column)]
               .data == nullptr;
}

std::string_view Rows::text(std::uint64_t row, int column) const noexcept {
    const Cell& cell =
        cells_[row * static_cast<std::uint64_t>(columns_) + static_cast<std::uint64_t>(column)];
    return cell.data == nullptr
               ? std::string_view()
               : std::string_view(cell.data, static_cast<std::size_t>(cell.number));
}

std::optional<std::string> Rows::optional_text(std::uint64_t row, int column) const {
    if (is_null(row, column)) {
        return std::nullopt;
    }
    return string(row, column);
}

std::int64_t Rows::integer(std::uint64_t row, int column) const noexcept {
    return cells_[row * static_cast<std::uint64_t>(columns_) + static_cast<std::uint64_t>(column)]
        .number;
}

std::string Rows::display(std::uint64_t row, int column) const {
    const Cell& cell =
        cells_[row * static_cast<std::uint64_t>(columns_) + static_cast<std::uint64_t>(column)];
    return cell.data == Cell::is_number ? std::to_string(cell.number) : string(row, column);
}

const Jsonb* Rows::jsonb(std::uint64_t row, int column) const noexcept {
    return reinterpret_cast<const Jsonb*>(
        cells_[row * static_cast<std::uint64_t>(columns_) + static_cast<std::uint64_t>(column)]
            .data);
}

}  // namespace crmsync::pg
