// The guard: deletes are counted per mailbox and per link over a sliding hour, together with those
// that are meant now, and wait when there are more than the link's limits allow, until somebody
// confirms them. Creates and updates go on meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "exchange/operation.h"
#include "server/configuration.h"

namespace crmsync {

struct LeavingItem {
    std::string record;
    int mailbox;
    exchange::ItemReference reference;
};

constexpr std::size_t most_deletes_at_once = 2000;

// What may be deleted now, most_deletes_at_once at a time, in the current transaction. Keeps
// link_state.held up to date: which deletes wait, for the view `status`.
std::vector<LeavingItem> deletable_items(const LinkConfiguration& link);

// True when this many deletes are more than the limits allow where there are `items` items; the
// deletes of the last hour are in both numbers. The rule itself, in one place.
bool exceeds(const GuardLimits& limits, std::int64_t deletes, std::int64_t items);

}  // namespace crmsync
