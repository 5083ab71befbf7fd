// Which record an item that a user made is of, when the CRM has it already: match_on names the
// properties by which they know each other. A record of the mailbox's audience matches that has no
// item there yet; one that bears its key, too, needs no other likeness. Where several might, or
// several items might be of one, somebody has to decide, or the oldest of both is taken
// (on_ambiguous). So an item that matches waits until all that its user had before is known.
// Items that match nothing may be alike: then only one of them is new.
#pragma once

#include <string>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

struct ItemToMatch {
    int mailbox;
    std::string address;           // of the mailbox
    std::string id;                // of the item
    std::string created;           // when its user made it
    std::string key;               // that another program has left in it; empty: none
    const record::Values* values;  // parallel to the link's layout
};

struct ItemMatch {
    std::string record;     // empty: the CRM does not have it
    std::string problem;    // why it is not known which: then it is not to come in
    pg::TextArray records;  // those that it may be of, when there is a problem or it waits
    bool waits = false;     // other items of the mailbox are not known yet
    bool left = false;      // somebody wants it to stay its user's
    std::string key{};      // what it is known by; empty: nothing, or it is new whatever it is like
};

// In the current transaction, in the order of the items. Nothing matches where the link has no
// match_on.
std::vector<ItemMatch> match_items(const LinkConfiguration& link,
                                   const std::vector<ItemToMatch>& items);

}  // namespace crmsync
