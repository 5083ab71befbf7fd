// The guard: deletes are counted per mailbox and per link over a sliding hour, together with those
// that are meant now, and wait when there are more than the link's limits allow, until somebody
// confirms them. Creates and updates go on meanwhile.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "exchange/operation.h"
#include "server/configuration/configuration.h"
#include "server/postgres/query.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// An item that may be deleted, or one whose record may be.
struct LeavingItem {
    std::string record;
    int mailbox;
    exchange::ItemReference reference;
    bool unknown;  // nobody knows what the item holds
    bool surplus;  // it is a copy of the record's item
};

constexpr std::size_t most_deletes_at_once = 2000;

// Deletes in a mailbox, or in a link.
struct DeleteCount {
    std::int64_t unconfirmed = 0;  // meant and not confirmed
    std::int64_t confirmed = 0;    // meant and confirmed
    std::int64_t recent = 0;       // done in the last hour
    std::int64_t deletes() const { return unconfirmed + recent; }
};

using DeleteCounts = std::map<int, DeleteCount>;  // by mailbox

struct GuardVerdict {
    bool whole_link = false;
    std::set<int> mailboxes;
    bool holds(int mailbox, bool confirmed) const {
        return !confirmed && (whole_link || mailboxes.contains(mailbox));
    }
};

// Completes what is meant with what was done in the last hour.
void add_recent_deletes(int link, DeleteCounts& counts);

// Which of these deletes wait.
GuardVerdict judge(const LinkConfiguration& link, const DeleteCounts& counts);

struct DeletableItems {
    std::vector<LeavingItem> items;
    bool more = false;         // there may be others that were not taken
    pg::IntegerArray crowded;  // mailboxes that were left out, since much goes on there
};

// What may be deleted now and is not in flight, some most_deletes_at_once at a time, in the current
// transaction. Keeps link_state.held up to date: which deletes wait, for the view `status`.
DeletableItems deletable_items(const LinkConfiguration& link, sync::WorkInFlight& in_flight);

// Likewise, records whose items their users have deleted, and that may be deleted in the CRM now.
std::vector<LeavingItem> removable_records(const LinkConfiguration& link);

// SQL that counts deletes that were done: one for each of `rows`, with link and mailbox.
std::string count_deletes(const std::string& rows);

// Before the server is asked to delete these items: from then on they may be gone.
void note_deletes(const LinkConfiguration& link, const std::vector<LeavingItem>& items);

// True when this many deletes are more than the limits allow where there are `items` items; the
// deletes of the last hour are in both numbers. The rule itself, in one place.
bool exceeds(const GuardLimits& limits, std::int64_t deletes, std::int64_t items);

}  // namespace crmsync
