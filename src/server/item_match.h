// Which record an item that a user made is of, when the CRM has it already: match_on names the
// properties by which they know each other. A record of the mailbox's audience matches that has no
// item there yet; where several might, or several items might be of one, nobody decides for them.
#pragma once

#include <string>
#include <vector>

#include "server/configuration.h"
#include "server/query.h"

namespace crmsync {

struct ItemToMatch {
    int mailbox;
    std::string address;           // of the mailbox
    const record::Values* values;  // parallel to the link's layout
};

struct ItemMatch {
    std::string record;     // empty: the CRM does not have it
    std::string problem;    // why it is not known which: then it is not to come in
    pg::TextArray records;  // those that it may be of, when there is a problem
};

// In the current transaction, in the order of the items. Nothing matches where the link has no
// match_on.
std::vector<ItemMatch> match_items(const Configuration& configuration,
                                   const LinkConfiguration& link,
                                   const std::vector<ItemToMatch>& items);

}  // namespace crmsync
