// Which records the source of a link has.
#pragma once

#include <set>
#include <string>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

// Those of the keys that it shows at the moment, to the link's owner.
std::set<std::string> keys_in_source(const LinkConfiguration& link, const pg::TextArray& keys);

}  // namespace crmsync
