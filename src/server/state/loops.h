// Items that keep changing by themselves: what we write is made into the same other value again and
// again, by the server, an add-in or another tool, and the CRM insists. A user who edits a field is
// none of them: what he writes is another value each time.
//
// The table `bounce` has a row for each item of which something came in lately, and no others.
#pragma once

#include <vector>

#include "sync/task.h"

namespace crmsync {

// Code of failures of items that are left alone until crmsync.retry.
inline constexpr const char* loop_code = "LOOP";

// These came in: outcomes with the fields that the CRM got. In the current transaction.
void note_came_in(const std::vector<sync::Outcome>& outcomes);

// These were written. Parks the items that have been round too often, in the current transaction.
void note_written(const std::vector<const sync::Outcome*>& outcomes);

// Forgets what has come to rest.
void forget_bounces();

}  // namespace crmsync
