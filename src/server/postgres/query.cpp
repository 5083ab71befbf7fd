#include "server/postgres/query.h"

#include <charconv>
#include <unordered_map>

extern "C" {
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
}

#include "server/postgres/encoding.h"
#include "server/postgres/parameters.h"
#include "server/postgres/preload.h"

namespace crmsync::pg {

namespace {

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
    const int result = SPI_execute_plan(plan, parameters.values, parameters.nulls, false,
                                        static_cast<long>(unit->options.most_rows));
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

std::int64_t Rows::number_or(std::uint64_t row, int column, std::int64_t otherwise) const noexcept {
    const std::string_view digits = text(row, column);
    std::from_chars(digits.data(), digits.data() + digits.size(), otherwise);
    return otherwise;
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
