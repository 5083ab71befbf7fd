// What the users of an inbound link changed comes into the CRM: items that were fetched are merged
// with the CRM's rows, field by field, and rows, shadows, conflicts and history are written in one
// transaction.
#pragma once

#include <map>
#include <vector>

#include "server/arrivals.h"
#include "server/configuration.h"
#include "sync/task.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// Of writes that were overtaken: by item, the rows of `pending` that they followed from.
using OvertakenRows = std::map<ItemName, std::vector<sync::PendingRow>>;

// Takes outcomes of fetches, and of writes that were overtaken. What cannot come in is noted beside
// its arrival; what was released or postponed stays there. A transaction of its own; throws
// pg::Error where the link as a whole cannot work.
void bring_in(const Configuration& configuration, const LinkConfiguration& link,
              const std::vector<sync::Outcome>& outcomes, const OvertakenRows& overtaken);

}  // namespace crmsync
