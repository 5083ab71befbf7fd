// Items that bear the stamp of a record and an id that nobody knows. One whose record has no item
// there any more was only moved, and takes its place. Otherwise its user has copied an item, stamp
// and all: the item that we know is asked for first, and if it is there the copy loses the stamp.
// From then on it is its user's own, a new item like any other. What we have made ourselves goes
// (see late_creates.h). Where an earlier item of the record was missed and made anew, it may also
// be that one, moved back or taken out of the deleted items: somebody decides.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/state/arrivals.h"
#include "sync/task.h"

namespace crmsync {

struct StampedItems {
    std::vector<std::pair<std::string, const sync::Outcome*>> moved;  // records, and their items
    std::vector<ItemName> settled;
    std::vector<ItemName> postponed;
    std::vector<ArrivalFailure> failures;
};

// In the current transaction. Those without a stamp are left out.
StampedItems take_stamped(const LinkConfiguration& link, const std::string& prefix,
                          const std::vector<const sync::Outcome*>& unknown);

// Notes, in the current transaction, which attempts made the items that are known among those that
// were fetched, where somebody waits for that.
void note_originals(const std::vector<const sync::Outcome*>& known);

}  // namespace crmsync
