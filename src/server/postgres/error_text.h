// What PostgreSQL refused, for whoever has to mend it.
#pragma once

#include <string>

#include "server/postgres/boundary.h"

namespace crmsync {

// Message, constraint and detail, without characters that cannot be shown, of at most 1,000 bytes.
// May quote values: for operators.
std::string error_text(const pg::Error& error);

}  // namespace crmsync
