// The part of Worker that lets mailboxes go to another address, or to another target. To the latter
// once nothing of them is under way at the one that they leave: what is queued is taken back, and
// what was sent ends, if by a time-out.
#include <algorithm>

#include "server/configuration/moves.h"
#include "server/postgres/transaction.h"
#include "server/worker/worker.h"

namespace crmsync {

// What waits goes to the new address. What was sent ends at the old one, and says nothing of the
// mailbox any more.
void Worker::readdress(const std::map<int, std::string>& addresses) {
    bool any_sent = false;  // and perhaps still waits for the network
    for (const auto& [mailbox, address] : addresses) {
        if (address.find(' ') != address.npos) {
            // Another user has its address, and know_mailboxes knows none for this one.
            engine_.release(mailbox, {exchange::Disposition::back_off, "MOVED",
                                      "the mailbox has no address any more"});
        }
        any_sent |= engine_.set_address(mailbox, address);
    }
    if (any_sent) {
        courier_.recall();
    }
}

void Worker::move_mailboxes(const Survey& survey) {
    const std::set<int> moving(survey.moving_links.begin(), survey.moving_links.end());
    std::erase_if(moving_, [&](const auto& one) { return !moving.contains(one.second); });
    for (const int id : moving) {
        const auto link = configuration_.links.find(id);
        if (link != configuration_.links.end() && link->second.enabled &&
            link->second.problem.empty()) {
            guard_link(link->second, [&] { move_mailboxes(link->second); });
        }
    }
}

void Worker::move_mailboxes(const LinkConfiguration& link) {
    pg::Transaction transaction("moving mailboxes of link " + link.name);
    const Moves moves(link);
    std::map<int, int> leaving;
    bool any_sent = false;  // that waits for the network only since now
    for (const int mailbox : moves.mailboxes()) {
        leaving.emplace(mailbox, link.id);
        engine_.release(mailbox, {exchange::Disposition::back_off, "MOVING",
                                  "the mailbox is to be at another target"});
        any_sent |= !moving_.contains(mailbox) && !engine_.idle(mailbox);
    }
    if (any_sent) {
        courier_.recall();
    }
    take_results();
    const std::set<int> in_use = mailboxes_in_use();
    pg::IntegerArray free;
    for (const auto& [mailbox, of_link] : leaving) {
        if (engine_.idle(mailbox) && !in_use.contains(mailbox)) {
            free.push_back(mailbox);
        }
    }
    if (!free.empty()) {
        moves.carry_out(free);
    }
    transaction.commit();
    for (const int mailbox : free) {
        leaving.erase(mailbox);
        engine_.forget(mailbox);
    }
    std::erase_if(moving_, [&](const auto& one) { return one.second == link.id; });
    moving_.merge(leaving);
    again_ |= !free.empty() || (!moving_.empty() && !nothing_to_record());
}

// Those of which something is still to be recorded, or waited for.
std::set<int> Worker::mailboxes_in_use() const {
    std::set<int> mailboxes = listing_;
    const auto add = [&](const auto& list) {
        for (const auto& one : list) {
            mailboxes.insert(one.mailbox);
        }
    };
    add(outcomes_);
    add(read_);
    add(repaired_);
    for (const Results* results : {&results_, &withheld_}) {
        add(results->outcomes);
        add(results->mailboxes);
        add(results->pages);
        add(results->stamp_pages);
    }
    for (const std::set<ItemName>* items : {&fetching_, &repairing_}) {
        for (const ItemName& item : *items) {
            mailboxes.insert(item.first);
        }
    }
    return mailboxes;
}

}  // namespace crmsync
