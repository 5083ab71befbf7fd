// Items that bear the stamp of another one: somebody has copied it in Outlook, stamp and all, to
// make another one of it, or we have made it ourselves. They are found where a mailbox is listed,
// read, and judged by what they hold: what holds the same is surplus and goes, through the guard; a
// stray, which holds something else, loses the stamp. All in the current transaction.
#pragma once

#include <set>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/state/arrivals.h"
#include "server/state/outcome_pairs.h"
#include "sync/task.h"

namespace crmsync {

// Those among what was fetched that were listed as copies and have yet to be judged.
std::set<ItemName> copies_among(const std::vector<sync::Outcome>& outcomes);

// By what they hold, as was fetched just now.
void judge_copies(const LinkConfiguration& link, const std::vector<const sync::Outcome*>& copies);

// Those that are gone, or that cannot be read, are nobody's matter.
void forget_copies(const Pairs& copies);

// What was listed, and has gone since, is not to be compared with what is known.
void forget_listed(const Pairs& gone);

// Copies that have become their records' items, as was written just now, stay.
void keep_copies(const std::vector<const sync::Outcome*>& written);

// Forgets the copies among items that were deleted or unlinked. Returns the others.
std::vector<const sync::Outcome*> take_copies(const std::vector<const sync::Outcome*>& outcomes);

}  // namespace crmsync
