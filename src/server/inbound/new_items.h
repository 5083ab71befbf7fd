// Items that users made themselves: each is of a record that the CRM has already, or becomes a row
// of the CRM, and is ours to keep in step. Its stamp is written as soon as the record is looked at,
// which it is because it is pending.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/state/arrivals.h"
#include "sync/task.h"

namespace crmsync {

struct NewItems {
    std::vector<ItemName> settled;  // those that came in, and those that are not to
    std::vector<ItemName> postponed;
    std::vector<ArrivalFailure> failures;
    std::vector<WaitingArrival> waiting;
    pg::TextArray records;                                              // the keys of the new rows
    std::vector<std::pair<std::string, const sync::Outcome*>> adopted;  // records, and their items
    std::vector<sync::Outcome> history;  // what there is to be remembered
};

// Takes fetched items that nothing is known of and that bear no stamp. In the current transaction.
NewItems bring_in_new(const LinkConfiguration& link,
                      const std::vector<const sync::Outcome*>& fetched);

}  // namespace crmsync
