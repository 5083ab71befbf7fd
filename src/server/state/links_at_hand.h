// Links that nobody is removing. drop_link and forget lock the row of their link until their
// transaction ends, which may take as long as it likes: what the worker does for all links at once
// leaves such a one out, and does it when that is over.
#pragma once

#include <set>
#include <string>

namespace crmsync {

// SQL for a WITH clause: at_hand, the ids of those among the rows of `concerned` (column link).
// They stay until the end of the transaction.
std::string links_at_hand(const std::string& concerned);

// Which of these are being removed, and are not to be written for in the current transaction.
std::set<int> links_being_removed(const std::set<int>& links);

}  // namespace crmsync
