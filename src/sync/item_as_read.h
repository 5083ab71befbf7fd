// What an item as it was just read means for the task that is to write it: after a lost answer, or
// when somebody else has changed it meanwhile.
#pragma once

#include "exchange/operation.h"
#include "record/record.h"
#include "sync/task.h"

namespace crmsync::sync {

// What both sides last agreed on, by what is to be written.
record::Values shadow_of(const Task& task);

// Whether nobody else has made anything of the item, whatever its change key is now, or the reason
// for which it could not be written. What the task writes may be there although no answer said so.
bool is_ours_alone(const Task& task, const exchange::ItemAnswer& answer);

// Decides the task anew by what the item holds now.
void merge_with(Task& task, const exchange::ItemAnswer& answer);

}  // namespace crmsync::sync
