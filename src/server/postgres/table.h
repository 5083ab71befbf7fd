// What is done to a table of ours as a whole.
#pragma once

#include "server/postgres/boundary.h"

namespace crmsync::pg {

// Like TRUNCATE, but no publication sends it on: a subscriber that has the extension, too, would
// lose what its own tables of that name hold, and no trigger can keep a TRUNCATE from being
// applied.
void empty_table(Oid table);

}  // namespace crmsync::pg
