// What every background worker of the engine begins with.
#pragma once

#include <chrono>

#include "server/boundary.h"

namespace crmsync {

// Connects to a database; the first thing in a worker's main, outside pg::enter().
void connect_worker(Datum database);

// What every statement of this process goes by, whatever the database or its roles are set to.
// lock_timeout: as in SQL.
void configure_session(const char* lock_timeout);

// Of a process that only ever looks up a few rows of our tables: their indexes are used, even where
// a table was empty when it was last analyzed. The queries of owners are planned as usual.
void prefer_indexes();

// Does nothing for so long; a termination ends the process in here.
void rest(std::chrono::milliseconds pause);

}  // namespace crmsync
