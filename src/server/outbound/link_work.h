// The next piece of work of a link: reads the records that are pending, who should have them and
// who has them, decides, and returns tasks for the engine. One transaction, without the network.
#pragma once

#include <string>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/outbound/link_decision.h"
#include "server/state/pending_records.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// Reads and decides in the current transaction, which the caller commits before it uses the result.
Work next_work(const Configuration& configuration, const LinkConfiguration& link,
               sync::WorkInFlight& in_flight, PendingPosition& position);

// The same for a link that is not enabled, whose items are only taken back.
Work next_withdrawal(const Configuration& configuration, const LinkConfiguration& link,
                     sync::WorkInFlight& in_flight);

// What would be done for some records, by the same decisions, with nothing written anywhere.
Outlook look_ahead(const Configuration& configuration, const LinkConfiguration& link,
                   const std::vector<std::string>& records);

}  // namespace crmsync
