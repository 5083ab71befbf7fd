#include "server/postgres/result_set.h"

#include "server/postgres/encoding.h"

extern "C" {
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"
}

namespace crmsync::pg {

namespace {

constexpr std::size_t most_columns = 16;

Datum text_datum(const std::string& text) {
    const Text converted = from_utf8(text.data(), text.size());
    return PointerGetDatum(
        cstring_to_text_with_len(converted.data, static_cast<int>(converted.size)));
}

Datum text_array_datum(const std::vector<std::string>& list) {
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (list.size() + 1)));
    for (std::size_t i = 0; i < list.size(); ++i) {
        values[i] = text_datum(list[i]);
    }
    return PointerGetDatum(
        construct_array(values, static_cast<int>(list.size()), TEXTOID, -1, false, TYPALIGN_INT));
}

Datum datum_of(const ResultValue& value) {
    switch (value.index()) {
        case 1:
            return BoolGetDatum(*std::get_if<1>(&value));
        case 2:
            return Int32GetDatum(*std::get_if<2>(&value));
        case 3:
            return Int64GetDatum(*std::get_if<3>(&value));
        case 4:
            return text_datum(*std::get_if<4>(&value));
        case 5:
            return text_array_datum(*std::get_if<5>(&value));
        default:
            return Datum(0);
    }
}

}  // namespace

ResultSet::ResultSet(FunctionCallInfo call, Of what) : call_(call) {
    const bits32 flags = what == Of::scalars ? MAT_SRF_USE_EXPECTED_DESC : 0;
    guard([&] {
        prepare_encoding();
        InitMaterializedSRF(call, flags);
    });
}

void ResultSet::add(const std::vector<ResultValue>& row) {
    if (row.size() > most_columns) {
        throw std::length_error("too many columns");
    }
    const auto* result = reinterpret_cast<ReturnSetInfo*>(call_->resultinfo);
    guard([&] {
        Datum values[most_columns];
        bool nulls[most_columns];
        for (std::size_t i = 0; i < row.size(); ++i) {
            nulls[i] = row[i].index() == 0;
            values[i] = datum_of(row[i]);
        }
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    });
}

std::string text_of(Datum datum) {
    const Text found = guard([&] {
        prepare_encoding();
        const auto* value = DatumGetTextPP(datum);
        return to_utf8(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
    });
    return std::string(found.data, found.size);
}

std::string text_argument(FunctionCallInfo call, int position) {
    return text_of(call->args[position].value);
}

std::optional<std::string> optional_text_argument(FunctionCallInfo call, int position) {
    if (call->args[position].isnull) {
        return std::nullopt;
    }
    return text_argument(call, position);
}

}  // namespace crmsync::pg
