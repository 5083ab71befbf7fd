// What the users of an inbound link changed comes into the CRM: items that were fetched are merged
// with the CRM's rows, field by field, and rows, shadows, conflicts and history are written in one
// transaction.
#pragma once

#include <set>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/state/arrivals.h"
#include "sync/task.h"

namespace crmsync {

// Takes outcomes of fetches, and of writes that were overtaken. What cannot come in is noted beside
// its arrival; what was released or postponed stays there. Returns what did not come in for now: to
// write it would only meet it again, and that it is to be written is found out when it comes in. A
// transaction of its own; throws pg::Error where the link as a whole cannot work.
std::set<ItemName> bring_in(const Configuration& configuration, const LinkConfiguration& link,
                            const std::vector<sync::Outcome>& outcomes);

}  // namespace crmsync
