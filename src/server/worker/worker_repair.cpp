// The part of Worker that does something with all that mailboxes hold.
#include <utility>

#include "server/outbound/repair.h"
#include "server/outbound/withdrawal.h"
#include "server/postgres/transaction.h"
#include "server/worker/worker.h"

namespace crmsync {

// What somebody wants repaired: in the current transaction, which is committed before it begins.
RepairWork Worker::repairs_of(const LinkConfiguration& link, const Work& work) {
    repairs_go_on_ = link.retired || anything_under_repair();
    if (!repairs_go_on_) {
        return {};
    }
    if (work.tasks.empty()) {
        finish_withdrawals(link, in_flight_.size(link.id) == 0,
                           [&](int mailbox) { return engine_.busy(mailbox); });
    }
    return next_repairs(configuration_, link, listing_, repairing_, fetching_, in_flight_, work);
}

// A link that is not enabled has nothing else to do.
void Worker::take_items_back(const LinkConfiguration& link) {
    LinkRuntime& runtime = runtimes_[link.id];
    pg::Transaction transaction("withdrawing the items of link " + link.name);
    Work work = next_withdrawal(configuration_, link, in_flight_);
    RepairWork repairs = repairs_of(link, work);
    commit_for(work, transaction);
    runtime.more = work.more;
    runtime.more_deletes = work.more_deletes;
    runtime.crowded = std::move(work.crowded);
    begin_repairs(link, std::move(repairs));
    begin(link, std::move(work));
}

void Worker::begin_repairs(const LinkConfiguration& link, RepairWork work) {
    again_ |= work.more;
    for (sync::MailboxDescription& mailbox : work.mailboxes) {
        link_of_mailbox_[mailbox.id] = link.id;
        engine_.set_mailbox(std::move(mailbox));
    }
    for (const int mailbox : work.listings) {
        listing_.insert(mailbox);
        engine_.take_inventory(mailbox);
    }
    begin_fetches(link.id, std::move(work.fetches), repairing_);
}

// What was read for a repair.
void Worker::take_repaired() {
    each_link(std::exchange(repaired_, {}),
              [](const LinkConfiguration& link, const Outcomes& read) { mend(link, read); });
}

}  // namespace crmsync
