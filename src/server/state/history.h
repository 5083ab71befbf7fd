// The history of what was done: a ring of three tables, of which the oldest is emptied when its
// turn comes again. Nothing is ever deleted row by row.
#pragma once

#include <string>
#include <vector>

#include "sync/task.h"

namespace crmsync {

// Appends what was done, in the current transaction.
void write_history(const std::vector<sync::Outcome>& outcomes);

// The table of the ring that is written to now, for what is no outcome of the engine.
std::string current_history_table();

// Goes on to the next table of the ring when half of history_keep is over, or when this one is too
// large; when somebody reads the next one just now, another time. In the current transaction.
void turn_history();

// The same, and deletes what else is old; a transaction of its own.
void forget_old();

}  // namespace crmsync
