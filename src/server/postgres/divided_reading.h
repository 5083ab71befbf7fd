// Reading of many records at once, of which some may have values that make the query fail.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "server/postgres/boundary.h"
#include "server/postgres/query.h"

namespace crmsync {

// The error with this SQLSTATE is of the values that a query has met, not of the query: other
// records may do better, and so may this one with others.
bool concerns_values(std::string_view code);

// Calls `read` with all keys, within a subtransaction. Where values make it fail its keys are
// divided until those stand alone that are to blame; of these `unreadable` is called, with the
// error. Throws pg::Error for what is not of the values.
void read_divided(const pg::TextArray& keys, const std::function<void(const pg::TextArray&)>& read,
                  const std::function<void(const std::string&, const pg::Error&)>& unreadable);

}  // namespace crmsync
