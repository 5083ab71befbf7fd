// Items of mailboxes that were asked for and are not there any more.
#pragma once

#include <vector>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"
#include "server/state/arrivals.h"
#include "sync/task.h"

namespace crmsync {

struct GoneItems {
    std::vector<ItemName> settled;       // arrivals that need nothing more
    pg::TextArray records;               // to be looked at again
    std::vector<sync::Outcome> history;  // to be written there
};

// Notes what on_target_delete says of those that users have deleted, and forgets what we meant to
// delete or had left to them.
GoneItems note_gone(const LinkConfiguration& link, const std::vector<const sync::Outcome*>& gone);

}  // namespace crmsync
