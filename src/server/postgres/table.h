// Tables of ours as a whole.
#pragma once

#include <cstdint>
#include <string>

#include "server/postgres/boundary.h"

namespace crmsync::pg {

// Like TRUNCATE, but no publication sends it on: a subscriber that has the extension, too, would
// lose what its own tables of that name hold, and no trigger can keep a TRUNCATE from being
// applied.
void empty_table(Oid table);

// How many blocks a table has now, to read it piece by piece by ctid. In a transaction.
std::int64_t blocks_of(const std::string& table);

}  // namespace crmsync::pg
