// Who takes part in a link, as its relation of mailboxes says.
#pragma once

#include <string>
#include <vector>

#include "server/configuration.h"

namespace crmsync {

struct Participant {
    std::string address;
    bool enabled;
    bool automatic;      // false: only while somebody has asked for it
    std::string target;  // that it is at; empty: the link's own
};

// Whether mailboxes whose users have another address now get it at once, and those that are at
// another target are looked for there.
enum class Renames { noted, ignored };

// Read as the link's owner in the current transaction. The link must have such a relation.
std::vector<Participant> participants(const LinkConfiguration& link, Renames renames);

// Those that are known, and are at another target than they were, are looked for there.
void place(const LinkConfiguration& link, const std::vector<Participant>& participants);

}  // namespace crmsync
