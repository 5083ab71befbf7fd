// Which values of a record were refused: with others it may do better.
#pragma once

#include <cstdint>

#include "sync/task.h"

namespace crmsync {

// A hash of what was, or is, to be written; 0 where that is nothing.
std::int64_t hash_of_values(const sync::Desired* desired);

}  // namespace crmsync
