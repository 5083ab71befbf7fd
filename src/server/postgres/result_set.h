// The rows that an SQL function returns, for functions declared RETURNS SETOF.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/postgres/boundary.h"

namespace crmsync::pg {

// std::monostate is NULL; a vector becomes text[].
using ResultValue = std::variant<std::monostate, bool, std::int32_t, std::int64_t, std::string,
                                 std::vector<std::string>>;

class ResultSet {
  public:
    enum class Of { rows, scalars };

    // Throws Error when the caller cannot take a set.
    explicit ResultSet(FunctionCallInfo call, Of what = Of::rows);

    // One value for each column, in order.
    void add(const std::vector<ResultValue>& row);

  private:
    FunctionCallInfo call_;
};

// The empty text is NULL.
inline ResultValue text_or_null(std::string text) {
    return text.empty() ? ResultValue() : ResultValue(std::move(text));
}

// A value of type text. Throws Error (a value that cannot be detoasted).
std::string text_of(Datum datum);

// Arguments of an SQL function. Throw Error (a value that cannot be detoasted).
std::string text_argument(FunctionCallInfo call, int position);
std::optional<std::string> optional_text_argument(FunctionCallInfo call, int position);

}  // namespace crmsync::pg
