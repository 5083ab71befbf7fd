#include "server/outbound/link_work.h"

#include <algorithm>
#include <map>
#include <utility>

#include "server/outbound/delete_guard.h"
#include "server/outbound/mailbox_description.h"
#include "server/outbound/repair.h"
#include "server/outbound/undo.h"
#include "server/outbound/withdrawal.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

// So much is read, decided and handed out in one step, unless it is of a single record: a copy
// takes a kilobyte or two until it is written.
constexpr std::uint64_t most_pairs = 10'000;

// Decides for the records, and notes what only our own tables have to know.
Work work_on_records(const Configuration& configuration, const LinkConfiguration& link,
                     PendingRecords records, sync::WorkInFlight& in_flight) {
    LinkDecision decision = decide_work(
        link, read_facts(configuration, link, std::move(records), NewMailboxes::stored, most_pairs),
        in_flight);
    decision.verdicts.write(link.id);
    settle_pending(decision.settled);
    note_waiting(link.id, decision.looked_at, decision.waiting);
    return std::move(decision.work);
}

// Where the next records are in more mailboxes than those before, less of them are read.
Work work_on_pending(const Configuration& configuration, const LinkConfiguration& link,
                     sync::WorkInFlight& in_flight, PendingPosition& position, bool& more) {
    for (;;) {
        const PendingPosition before = position;
        PendingRecords records = read_pending(link.id, in_flight, position, more);
        if (records.empty()) {
            return {};
        }
        const std::size_t count = records.size();
        try {
            Work work = work_on_records(configuration, link, std::move(records), in_flight);
            position.learn(count, work.pairs);
            return work;
        } catch (const TooManyPairs&) {
            position = before;
            position.learn(count, most_pairs);
        }
    }
}

// Deletes that the guard lets pass, of items that nothing else is going on for.
void add_deletes(const LinkConfiguration& link, sync::WorkInFlight& in_flight, Work& work) {
    DeletableItems deletable = deletable_items(link, in_flight);
    note_deletes(link, deletable.items);
    std::map<std::string, std::vector<int>> begun;
    for (const LeavingItem& item : deletable.items) {
        sync::Task task{};
        task.action = sync::Action::remove;
        task.record = item.record;
        task.item = item.reference;
        task.unknown = item.unknown;
        task.surplus = item.surplus;
        task.fresh = true;
        work.tasks.emplace_back(item.mailbox, std::move(task));
        begun[item.record].push_back(item.mailbox);
    }
    work.begin_also(begun);
    work.more_deletes = deletable.more;
    work.crowded = std::move(deletable.crowded);
}

// Of the mailboxes that the tasks go to.
void describe(const Configuration& configuration, const LinkConfiguration& link, Work& work) {
    if (work.tasks.empty()) {
        return;
    }
    pg::IntegerArray ids;
    for (const auto& [mailbox, task] : work.tasks) {
        ids.push_back(mailbox);
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    work.mailboxes = describe_mailboxes(configuration, link, ids);
}

}  // namespace

Work next_work(const Configuration& configuration, const LinkConfiguration& link,
               sync::WorkInFlight& in_flight, PendingPosition& position) {
    bool more = false;
    Work work = work_on_pending(configuration, link, in_flight, position, more);
    const bool repairs = anything_under_repair();
    work.more = (repairs && mark_withdrawn(link)) || more;
    if (!work.more) {
        // Only when all that is pending has been looked at is the number of deletes known.
        add_deletes(link, in_flight, work);
        work.more = repairs && add_unlinks(link, in_flight, work);
        work.more |= add_undos(configuration, link, in_flight, work);
    }
    describe(configuration, link, work);
    return work;
}

Work next_withdrawal(const Configuration& configuration, const LinkConfiguration& link,
                     sync::WorkInFlight& in_flight) {
    Work work;
    work.more = mark_withdrawn(link);
    if (!work.more) {
        add_deletes(link, in_flight, work);
        work.more |= add_unlinks(link, in_flight, work);
    }
    describe(configuration, link, work);
    return work;
}

Outlook look_ahead(const Configuration& configuration, const LinkConfiguration& link,
                   const std::vector<std::string>& records) {
    PendingRecords looked_at;
    for (const std::string& record : records) {
        looked_at.try_emplace(record);
    }
    return decide_outlook(
        link, read_facts(configuration, link, std::move(looked_at), NewMailboxes::numbered));
}

}  // namespace crmsync
