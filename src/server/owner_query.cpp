// The SQL function crmsync.query_as_owner: a link's generated query, run as the worker runs it, for
// functions like why() that explain what the worker sees.
#include "server/postgres/query.h"
#include "server/postgres/result_set.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
}

namespace {

using namespace crmsync;

pg::TextArray text_array_argument(FunctionCallInfo call, int position) {
    struct Plain {
        Datum* values;
        bool* nulls;
        int count;
    };
    const Datum argument = call->args[position].value;
    const Plain plain = pg::guard([&] {
        Plain result{};
        deconstruct_array(DatumGetArrayTypeP(argument), TEXTOID, -1, false, TYPALIGN_INT,
                          &result.values, &result.nulls, &result.count);
        return result;
    });
    pg::TextArray list;
    for (int i = 0; i < plain.count; ++i) {
        if (!plain.nulls[i]) {
            list.push_back(pg::text_of(plain.values[i]));
        }
    }
    return list;
}

Datum query_as_owner(FunctionCallInfo call) {
    pg::ResultSet result(call, pg::ResultSet::Of::scalars);
    if (call->args[0].isnull || call->args[1].isnull) {
        return Datum(0);
    }
    const std::int32_t link = DatumGetInt32(call->args[0].value);
    const std::string query = pg::text_argument(call, 1);
    const pg::TextArray records =
        call->args[2].isnull ? pg::TextArray() : text_array_argument(call, 2);
    const pg::Rows owner =
        pg::query("SELECT pg_catalog.to_regrole(owner)::oid FROM crmsync.link WHERE id = $1", link);
    if (owner.empty() || !OidIsValid(static_cast<Oid>(owner.integer(0, 0)))) {
        throw pg::UserError(ERRCODE_UNDEFINED_OBJECT, "the link's owner does not exist");
    }
    const pg::Parameter parameters[] = {&records};
    const bool takes_records = query.find("$1") != std::string::npos;
    const pg::Rows rows =
        pg::query(query, std::span<const pg::Parameter>(parameters, takes_records ? 1 : 0),
                  {.owner = static_cast<Oid>(owner.integer(0, 0)), .once = true});
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        std::vector<std::string> values;
        values.reserve(static_cast<std::size_t>(rows.columns()));
        for (int column = 0; column < rows.columns(); ++column) {
            values.push_back(rows.display(row, column));
        }
        result.add({std::move(values)});
    }
    return Datum(0);
}

}  // namespace

CRMSYNC_SQL_FUNCTION(crmsync_query_as_owner, query_as_owner);
