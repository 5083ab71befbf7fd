// The history of what was done: a ring of three tables, of which the oldest is truncated when the
// next is due. Nothing is ever deleted row by row.
#pragma once

#include <string>
#include <vector>

#include "sync/task.h"

namespace crmsync {

// Appends what was done, in the current transaction.
void write_history(const std::vector<sync::Outcome>& outcomes);

// The table of the ring that is written to now, for what is no outcome of the engine.
std::string current_history_table();

// Goes on to the next table of the ring when a third of history_keep is over; a transaction of its
// own.
void rotate_history();

}  // namespace crmsync
