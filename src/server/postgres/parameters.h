// The parameters of a query, from the engine's values to PostgreSQL's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/postgres/boundary.h"

namespace crmsync::pg {

using TextArray = std::vector<std::string>;
using TextViewArray = std::vector<std::string_view>;
using NullableTextArray = std::vector<std::optional<std::string>>;
using IntegerArray = std::vector<std::int32_t>;
using BigintArray = std::vector<std::int64_t>;

// Documents to be written as jsonb[]: each a list of (key, text value), or absent for NULL.
struct JsonbArray {
    using Document = std::vector<std::pair<std::string_view, std::optional<std::string_view>>>;
    std::vector<std::optional<Document>> documents;
};

// A parameter of a query; std::monostate is NULL of type text. Arrays are passed by reference and
// must outlive the call.
using Parameter = std::variant<std::monostate, bool, std::int32_t, std::int64_t, std::string_view,
                               const TextArray*, const TextViewArray*, const NullableTextArray*,
                               const IntegerArray*, const BigintArray*, const JsonbArray*>;

// The parameters as PostgreSQL's plain data.
struct PlainParameters {
    int count;
    Oid* types;
    Datum* values;
    char* nulls;
};

// Makes them in the current memory context, inside a guard.
PlainParameters plain(std::span<const Parameter> parameters);

}  // namespace crmsync::pg
