// When rows of the CRM were last changed, for fields of which the newest value wins.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

// By record, to the second, read as the link's owner in the current transaction. Left out: rows
// that do not say, and all of a link that has no modified_column.
std::map<std::string, std::chrono::sys_seconds> modified_rows(const LinkConfiguration& link,
                                                              const pg::TextArray& records);

}  // namespace crmsync
