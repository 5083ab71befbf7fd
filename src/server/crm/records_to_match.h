// Records that items of users may be, by what they are recognised by.
#pragma once

#include <string>
#include <vector>

#include "record/value.h"
#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

struct RecordToMatch {
    std::string key;
    record::Values values;  // parallel to the link's layout; only what match_on names is there
};

// Those with these keys that an item can be of: not where nobody can say what match_on names of
// them, or no item could hold it. What else they hold, sendable or not, says nothing about who they
// are. Throws pg::Error.
std::vector<RecordToMatch> records_to_match(const LinkConfiguration& link,
                                            const pg::TextArray& keys);

}  // namespace crmsync
