// The part of Worker that reads the mailboxes of links: it lists what has changed, fetches what has
// arrived, and has it come in.
#include <algorithm>
#include <utility>

#include "server/inbound/bring_in.h"
#include "server/inbound/field_resolution.h"
#include "server/inbound/record_removal.h"
#include "server/outbound/mailbox_description.h"
#include "server/postgres/transaction.h"
#include "server/worker/worker.h"

namespace crmsync {

namespace {

// Between readings of an inbound link's mailboxes, where it says nothing else.
constexpr std::chrono::seconds default_reading_interval{30};

// For so long may be fetched from a mailbox that takes part no more: to ask who does costs a query
// of the CRM's relation, and there are many fetches a second.
constexpr std::chrono::seconds longest_time_to_leave{1};

// Between readings, when something waits for them.
constexpr std::chrono::seconds shortest_reading_interval{1};

}  // namespace

Worker::Clock::time_point Worker::reading_due(const LinkConfiguration& link,
                                              const LinkRuntime& runtime) {
    const std::chrono::seconds interval = link.interval.value_or(default_reading_interval);
    return runtime.last_reading +
           (runtime.read_soon ? std::min(interval, shortest_reading_interval) : interval);
}

// When the mailboxes of a link are to be read again: never while nothing may be sent, since time
// does not pass for a link that reads nothing.
Worker::Clock::time_point Worker::next_reading() const {
    if (!may_send()) {
        return Clock::time_point::max();
    }
    auto earliest = Clock::time_point::max();
    for (const auto& [id, link] : configuration_.links) {
        const auto runtime = runtimes_.find(id);
        if (link.reads && link.problem.empty() && runtime != runtimes_.end() && wants_work(link)) {
            earliest = std::min(
                earliest, std::max(reading_due(link, runtime->second), runtime->second.not_before));
        }
    }
    return earliest;
}

// Not where nothing is known of its rows, nor while the target is not to be tried, nor right after
// the link met an error: what was fetched would only come back at once.
void Worker::read_inbound(const LinkConfiguration& link) {
    LinkRuntime& runtime = runtimes_[link.id];
    if (!link.reads || !link.problem.empty()) {
        runtime.more_arrivals = false;
        return;
    }
    if (!wants_work(link) || Clock::now() < runtime.not_before) {
        return;
    }
    guard_link(
        link,
        [&] {
            read_mailboxes(link);
            if (may_fetch(fetching_)) {
                fetch(link);
            }
            if (link.inbound) {
                again_ |= resolve_fields(configuration_, link);
                again_ |= remove_records(configuration_, link);
            }
        },
        &LinkRuntime::reading_errors);
}

// Asks for what has changed in the mailboxes of an inbound link, when it is time.
void Worker::read_mailboxes(const LinkConfiguration& link) {
    LinkRuntime& runtime = runtimes_[link.id];
    const auto now = Clock::now();
    pg::Transaction transaction("reading mailboxes for link " + link.name);
    const bool all = now >= reading_due(link, runtime);
    if (!all && !any_to_read(link)) {
        runtime.being_started.clear();
        return;
    }
    echoes_.inherit();
    auto mailboxes = mailboxes_to_read(configuration_, link, all ? Reading::all : Reading::started);
    transaction.commit();
    if (all) {
        runtime.last_reading = now;
        runtime.read_soon = false;
    }
    for (MailboxToRead& mailbox : mailboxes) {
        const int id = mailbox.description.id;
        if (!all && !runtime.being_started.insert(id).second) {
            continue;  // it is being read
        }
        std::erase(runtime.absent, id);
        link_of_mailbox_[id] = link.id;
        if (mailbox.awaited) {
            awaited_.insert(id);
        }
        echoes_.begin(id);
        engine_.set_mailbox(std::move(mailbox.description));
        engine_.list_changes(id, std::move(mailbox.state));
    }
}

// Of an unchanged folder there is nothing to record: the state of before says the same. One that
// could not be read, as its target failed or the configuration changed, is read when that can be.
bool Worker::says_nothing(const sync::FolderPage& page) {
    if (!page.listed) {
        const auto link = link_of_mailbox_.find(page.mailbox);
        if (link != link_of_mailbox_.end()) {
            runtimes_[link->second].read_soon = true;
        }
        return true;
    }
    if (page.from_start) {
        awaited_.insert(page.mailbox);
    }
    return page.complete && page.changes.empty() && !awaited_.contains(page.mailbox) &&
           !echoes_.awaited(page.mailbox);
}

// Items made where a reading is to name them.
void Worker::note_made(const sync::Outcome& outcome) {
    const bool made =
        outcome.action == sync::Action::create &&
        (outcome.result == sync::Result::written || outcome.result == sync::Result::partly);
    const auto id = link_of_mailbox_.find(outcome.mailbox);
    if (!made || id == link_of_mailbox_.end()) {
        return;
    }
    const auto link = configuration_.links.find(id->second);
    if (link != configuration_.links.end() && link->second.reads) {
        echoes_.made(outcome.mailbox, outcome.item.id);
        results_.echoing.push_back(outcome.mailbox);
    }
}

// The states of these pages are recorded.
void Worker::take_echoes(const std::vector<sync::FolderPage>& pages) {
    pg::IntegerArray ended;
    for (const sync::FolderPage& page : pages) {
        echoes_.take(page);
        if (page.complete && echoes_.awaited(page.mailbox)) {
            ended.push_back(page.mailbox);
        }
    }
    if (ended.empty()) {
        return;
    }
    pg::Transaction transaction("looking for items that no page has named",
                                pg::Transaction::read_committed);
    for (const int mailbox : ended) {
        again_ |= echoes_.end(mailbox);
    }
    transaction.commit_lazily();
}

// Fetches items that have arrived in the mailboxes of an inbound link.
void Worker::fetch(const LinkConfiguration& link) {
    LinkRuntime& runtime = runtimes_[link.id];
    pg::Transaction transaction("fetching for link " + link.name);
    const auto next = [&] {
        return next_fetches(link, runtime.absent, fetching_, repairing_, in_flight_,
                            runtime.more_arrivals);
    };
    auto fetches = next();
    if (const auto now = Clock::now();
        !fetches.empty() && now - runtime.absent_read > longest_time_to_leave) {
        runtime.absent = absent_mailboxes(link);
        runtime.absent_read = now;
        fetches = next();
    }
    if (fetches.empty()) {
        again_ |= note_met_mailboxes(link);
    }
    pg::IntegerArray unknown;
    for (const Fetch& fetch : fetches) {
        if (!engine_.knows_mailbox(fetch.mailbox)) {
            unknown.push_back(fetch.mailbox);
        }
    }
    auto mailboxes = unknown.empty() ? std::vector<sync::MailboxDescription>()
                                     : describe_mailboxes(configuration_, link, unknown);
    transaction.commit();
    for (sync::MailboxDescription& mailbox : mailboxes) {
        link_of_mailbox_[mailbox.id] = link.id;
        engine_.set_mailbox(std::move(mailbox));
    }
    begin_fetches(link.id, std::move(fetches), fetching_);
}

void Worker::begin_fetches(int link, std::vector<Fetch> fetches, std::set<ItemName>& under_way) {
    const auto now = Clock::now();
    for (Fetch& fetch : fetches) {
        if (!fetch.task.record.empty()) {
            in_flight_.begin(link, fetch.task.record, fetch.mailbox);
        }
        under_way.emplace(fetch.mailbox, fetch.task.item.id);
        engine_.add(fetch.mailbox, std::move(fetch.task), now);
    }
}

// What was read comes into the CRM. Of a link that cannot work it is read again: what has arrived
// is still known to have. A write that met what cannot come in for now has ended with that; where
// it came in, it is decided anew.
void Worker::take_in() {
    std::set<ItemName> waiting;
    each_link(
        std::exchange(read_, {}),
        [&](const LinkConfiguration& link, const Outcomes& read) {
            if (link.reads && link.problem.empty()) {
                waiting.merge(bring_in(configuration_, link, read));
            }
        },
        &LinkRuntime::incoming_errors);
    for (const auto& [item, record] : std::exchange(overtaken_, {})) {
        end(item.first, record, !waiting.contains(item));
    }
}

}  // namespace crmsync
