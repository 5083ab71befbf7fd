// Who takes part in a link, as its relation of mailboxes says.
#pragma once

#include <string>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

struct Participant {
    std::string address;
    bool enabled;
    bool automatic;      // false: only while somebody has asked for it
    std::string target;  // that it is at; empty: the link's own

    // started: somebody has asked for it, and not all is done yet.
    bool takes_part(bool started) const { return enabled && (automatic || started); }
};

// Whether mailboxes whose users have another address now get it at once, and those that are to be
// at another target are marked.
enum class Renames { noted, ignored };

// Read as the link's owner in the current transaction. The link must have such a relation.
std::vector<Participant> participants(const LinkConfiguration& link, Renames renames);

// Makes mailboxes that are not known yet known, each at its target. Returns id and address of each.
pg::Rows add_mailboxes(const LinkConfiguration& link, const std::vector<Participant>& participants,
                       const pg::TextArray& addresses);

}  // namespace crmsync
