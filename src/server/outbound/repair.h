// Mailboxes that somebody wants repaired, made anew or emptied (resync, withdraw, drop_link): their
// items are listed and compared with what is known, and what differs is fetched. What follows is
// done by those who do so anyway: records become pending, copies pass the guard, and a withdrawal
// goes on in withdrawal.h. The tables say how far each has come; a crash costs a listing at most.
#pragma once

#include <set>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/outbound/link_decision.h"
#include "server/state/arrivals.h"
#include "sync/task.h"
#include "sync/work_in_flight.h"

namespace crmsync {

struct RepairWork {
    std::vector<int> listings;                        // mailboxes to take the inventory of
    std::vector<Fetch> fetches;                       // what differs
    std::vector<sync::MailboxDescription> mailboxes;  // of both
    bool more = false;
};

// Whether there is any such mailbox, of whatever link, or a copy that was found in one.
bool anything_under_repair();

// What is to be done next, in the current transaction. Left out: what is under way, or about to be,
// and what is fetched because it has arrived: each answer is for one of the two.
RepairWork next_repairs(const Configuration& configuration, const LinkConfiguration& link,
                        const std::set<int>& being_listed, const std::set<ItemName>& being_fetched,
                        const std::set<ItemName>& arriving, sync::WorkInFlight& in_flight,
                        const Work& about_to_be);

// Notes what was listed, in the current transaction.
void write_stamp_pages(const std::vector<sync::StampPage>& pages);

// What was fetched is what the items hold from now on; their records are looked at.
void mend(const LinkConfiguration& link, const std::vector<sync::Outcome>& outcomes);

}  // namespace crmsync
