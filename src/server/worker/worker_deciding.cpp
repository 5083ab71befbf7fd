// The part of Worker that decides: whose turn it is, and what is to be done for that link next.
#include <algorithm>
#include <set>
#include <utility>

#include "server/configuration/relation_watch.h"
#include "server/outbound/delete_guard.h"
#include "server/outbound/undo.h"
#include "server/outbound/withdrawal.h"
#include "server/postgres/log.h"
#include "server/postgres/preload.h"
#include "server/postgres/statistics.h"
#include "server/postgres/transaction.h"
#include "server/worker/worker.h"

namespace crmsync {

namespace {

using namespace std::chrono_literals;

constexpr auto trigger_check_interval = 5s;

// A link that somebody is removing is looked at again after so long.
constexpr auto while_withheld = 1s;
constexpr auto statistics_interval = 500ms;

// Transactions that meet others are done again at once so often in a row: what meets one every time
// is an error of the link's.
constexpr int most_retries = 20;
constexpr auto in_a_row = 1s;

// Where an inbound link goes on meeting errors its mailboxes are read less and less often.
constexpr std::chrono::seconds longest_pause = 5min;
constexpr int most_doublings = 5;

// New work is read when fewer tasks than this wait for a target.
constexpr std::size_t low_water = 10000;

// More records pending than this are a pass whose progress somebody may want to see.
constexpr std::int64_t long_pass = 100;

}  // namespace

// What is to go to a target that pauses by itself waits in the engine; one that is paused or
// stopped by somebody would give it back at once, and it would be decided about again and again.
bool Worker::wants_work(const LinkConfiguration& link) const {
    bool any_available = false;
    for (const std::string& name : link.targets) {
        const auto target = configuration_.targets.find(name);
        if (target == configuration_.targets.end() || target->second.paused ||
            engine_.stopped(name) || engine_.queued(name) >= low_water) {
            return false;
        }
        any_available |= engine_.available(name, Clock::now());
    }
    return any_available;
}

// Whose turn it is among the links that there is something to do for; nullptr: nobody's.
const LinkConfiguration* Worker::next_link() const {
    if (!may_send()) {
        return nullptr;
    }
    const LinkConfiguration* first = nullptr;
    for (const auto& [id, link] : configuration_.links) {
        const auto runtime = runtimes_.find(id);
        if (runtime == runtimes_.end() || !wants_work(link) || !has_more(link, runtime->second)) {
            continue;
        }
        if (id > last_link_) {
            return &link;
        }
        first = first == nullptr ? &link : first;
    }
    return first;
}

bool Worker::has_more(const LinkConfiguration& link, const LinkRuntime& runtime) const {
    return runtime.more || (runtime.more_arrivals && may_fetch(fetching_)) ||
           wants_deletes(link, runtime);
}

// Deletes are few at a time, since they go before what is not fresh. A mailbox whose deletes take
// long does not keep those of others waiting, but together they leave room for what else there is.
bool Worker::wants_deletes(const LinkConfiguration& link, const LinkRuntime& runtime) const {
    if (engine_.queued(link.target) >= low_water / 2) {
        return false;
    }
    return (runtime.more_deletes && in_flight_.begun_elsewhere(link.id) < most_deletes_at_once) ||
           std::any_of(runtime.crowded.begin(), runtime.crowded.end(),
                       [&](int mailbox) { return !in_flight_.has_enough(mailbox); });
}

// One step for one link.
void Worker::work() {
    const LinkConfiguration* link = next_link();
    if (link == nullptr) {
        return;
    }
    if (const auto now = Clock::now(); now >= next_statistics_) {
        next_statistics_ = now + statistics_interval;
        renew_statistics();
    }
    last_link_ = link->id;
    const LinkRuntime& runtime = runtimes_.at(link->id);
    if (runtime.more_arrivals && may_fetch(fetching_)) {
        read_inbound(*link);
    }
    if (runtime.more || wants_deletes(*link, runtime)) {
        work_on(*link);
    }
}

bool Worker::may_retry(LinkRuntime& runtime) {
    const auto now = Clock::now();
    const bool again = now - std::exchange(runtime.last_retry, now) < in_a_row;
    runtime.retries = again ? runtime.retries + 1 : 1;
    return runtime.retries <= most_retries;
}

// Until something new is found for it.
void Worker::LinkRuntime::rest() {
    more = false;
    more_deletes = false;
    crowded.clear();
    more_arrivals = false;
}

// Does something for a link; an error of its own keeps it from working, and no other. What only
// reading meets a comparison does not mend, nor is it over when one has met nothing: the errors of
// a reading are counted apart.
void Worker::guard_link(const LinkConfiguration& link, const std::function<void()>& something,
                        int LinkRuntime::*errors) {
    LinkRuntime& runtime = runtimes_[link.id];
    if (withheld_links_.contains(link.id)) {
        runtime.rest();
        runtime.not_before = std::max(runtime.not_before, Clock::now() + while_withheld);
        return;
    }
    try {
        something();
        if (errors != nullptr) {
            runtime.*errors = 0;
        }
    } catch (const pg::Error& error) {
        pg::check_interrupts();
        // Two transactions met: simply again. Took too long: again, and less of it.
        const bool met = error.sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE ||
                         error.sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;
        if ((met && may_retry(runtime)) ||
            (error.sqlstate == ERRCODE_QUERY_CANCELED && runtime.position.shrink())) {
            runtime.more = true;
            again_ = true;
            return;
        }
        runtime.rest();
        const int before = errors == nullptr ? 0 : (runtime.*errors)++;
        runtime.not_before = std::max(
            runtime.not_before,
            Clock::now() +
                std::min<std::chrono::seconds>(
                    longest_pause, pause_after_error * (1 << std::min(before, most_doublings))));
        if (!std::exchange(runtime.in_trouble, true)) {
            pg::log(LOG, "link \"" + link.name + "\" cannot work: " + error.message);
        }
        reread_ = true;  // its relations may be others than when its queries were made
        note_link_error(link.id, error, before == 0);
    }
}

// Does something with outcomes, a link at a time.
void Worker::each_link(
    Outcomes outcomes,
    const std::function<void(const LinkConfiguration&, const Outcomes&)>& something,
    int LinkRuntime::*errors) {
    std::map<int, Outcomes> by_link;
    for (sync::Outcome& outcome : outcomes) {
        const auto link = link_of_mailbox_.find(outcome.mailbox);
        if (link != link_of_mailbox_.end()) {
            by_link[link->second].push_back(std::move(outcome));
        }
    }
    for (const auto& [id, of_link] : by_link) {
        const auto link = configuration_.links.find(id);
        if (link != configuration_.links.end()) {
            guard_link(
                link->second, [&, &list = of_link] { something(link->second, list); }, errors);
        }
    }
}

void Worker::work_on(const LinkConfiguration& link) {
    LinkRuntime& runtime = runtimes_[link.id];
    guard_link(link, [&] {
        if (!link.enabled) {
            take_items_back(link);
            return;
        }
        if (!link.problem.empty()) {
            throw pg::Error{.sqlstate = link.problem_code, .message = link.problem};
        }
        again_ |= undo_rows(configuration_, link);
        pg::Transaction transaction("deciding for link " + link.name);
        if (Clock::now() - runtime.triggers_checked > trigger_check_interval) {
            const pg::Rows problem = pg::query("SELECT crmsync.capture_problem($1)", link.id);
            if (!problem.is_null(0, 0)) {
                throw pg::Error{.sqlstate = ERRCODE_UNDEFINED_OBJECT,
                                .message = problem.string(0, 0)};
            }
            runtime.triggers_checked = Clock::now();
        }
        if (runtime.in_trouble || !runtime.trouble_known) {
            note_link_works(link.id);
        }
        if (runtime.position.at_start()) {
            const std::int64_t pending = count_pending(link.id);
            if (runtime.total > 0) {
                runtime.total = runtime.done + pending;
            } else if (pending >= long_pass) {
                runtime.done = 0;
                runtime.total = pending;
            }
        }
        Work work = next_work(configuration_, link, in_flight_, runtime.position);
        RepairWork repairs = repairs_of(link, work);
        if (relations_changed()) {
            // What was asked for in the words of before may be wrong: nothing of it counts.
            runtime.more = true;
            again_ = true;
            return;
        }
        commit_for(work, transaction);
        begin_repairs(link, std::move(repairs));
        runtime.more = work.more;
        runtime.more_deletes = work.more_deletes;
        runtime.crowded = std::move(work.crowded);
        if (work.unmet) {  // a mailbox is new: it need not wait for its turn
            runtime.read_soon = true;
        }
        runtime.done += work.unchanged;
        runtime.trouble_known = true;
        begin(link, std::move(work));
        report_progress(link.id, runtime);
        if (const auto request = std::exchange(runtime.comparison_due, std::nullopt)) {
            start_run(comparisons_, link.id, *request);
        }
        if (std::exchange(runtime.in_trouble, false)) {
            pg::log(LOG, "link \"" + link.name + "\" works again");
        }
    });
}

// A crash must not take back from the CRM what a mailbox has been told of it.
void Worker::commit_for(const Work& work, pg::Transaction& transaction) {
    if (work.tasks.empty()) {
        transaction.commit();
        return;
    }
    std::set<int> creating;
    for (const auto& [mailbox, task] : work.tasks) {
        if (task.action == sync::Action::create) {
            creating.insert(mailbox);
        }
    }
    creates_.begin(creating);
    transaction.commit_all_seen();
}

void Worker::begin(const LinkConfiguration& link, Work work) {
    for (sync::MailboxDescription& mailbox : work.mailboxes) {
        link_of_mailbox_[mailbox.id] = link.id;
        engine_.set_mailbox(std::move(mailbox));
    }
    for (Work::Begun& begun : work.begun) {
        if (!begun.rows.empty()) {
            in_flight_.decide(link.id, begun.record, std::move(begun.rows), begun.mailboxes);
            continue;
        }
        for (const int mailbox : begun.mailboxes) {
            in_flight_.begin(link.id, begun.record, mailbox);
        }
    }
    for (sync::Outcome& outcome : work.outcomes) {
        link_of_mailbox_[outcome.mailbox] = link.id;
        outcomes_.push_back(std::move(outcome));
    }
    const auto now = Clock::now();
    for (auto& [mailbox, task] : work.tasks) {
        note_late_delete(mailbox, task);
        engine_.add(mailbox, std::move(task), now);
    }
}

void Worker::report_progress(int link, LinkRuntime& runtime) {
    if (runtime.total == 0) {
        return;
    }
    if (!runtime.more && in_flight_.size(link) == 0) {
        runtime.total = 0;
        preload().set_progress(link, "", -1, 0);
    } else {
        preload().set_progress(link, "sending", runtime.done, runtime.total);
    }
}

}  // namespace crmsync
