// The part of Worker that does something with all that mailboxes hold.
#include <utility>

#include "server/transaction.h"
#include "server/withdrawal.h"
#include "server/worker.h"

namespace crmsync {

// A link that is not enabled has nothing else to do.
void Worker::take_items_back(const LinkConfiguration& link) {
    LinkRuntime& runtime = runtimes_[link.id];
    pg::Transaction transaction("withdrawing the items of link " + link.name);
    Work work = next_withdrawal(configuration_, link, in_flight_);
    if (work.tasks.empty() && in_flight_.size(link.id) == 0) {
        finish_withdrawals(link, [&](int mailbox) { return engine_.busy(mailbox); });
    }
    transaction.commit();
    runtime.more = work.more;
    runtime.more_deletes = work.more_deletes;
    begin(link, std::move(work));
}

}  // namespace crmsync
