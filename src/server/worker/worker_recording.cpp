// The part of Worker that records what came of what was sent.
#include <iterator>
#include <utility>

#include "server/postgres/log.h"
#include "server/worker/worker.h"

namespace crmsync {

namespace {

// At most so much is recorded together.
constexpr std::size_t results_at_once = 500;
constexpr std::size_t most_content_in_results = 8U << 20U;  // bytes

}  // namespace

// A handful of statements records any number of results: while more are about to come they wait.
// Not what others are decided by, an item that was met in a mailbox or a mailbox that pauses, which
// would be taken for one that somebody has told to go on; nor what could not be recorded: that is
// counted, and nothing may be decided before it is recorded, too.
bool Worker::results_may_wait() const {
    return nothing_to_record() ||
           (!others_depend_ && results_.outcomes.empty() && results_.settled.empty() &&
            read_.empty() && repaired_.empty() && outcomes_.size() < results_at_once &&
            content_in_results_ < most_content_in_results && courier_.under_way() > 0 &&
            Clock::now() - results_since_ < longest_wait_for_results);
}

bool Worker::nothing_to_record() const {
    return outcomes_.empty() && results_.empty() && read_.empty() && repaired_.empty();
}

void Worker::take_results() {
    if (nothing_to_record()) {
        results_since_ = Clock::now();
    }
    for (sync::Outcome& outcome : engine_.take_outcomes()) {
        others_depend_ |= outcome.result == sync::Result::found;
        content_in_results_ += outcome.held.content ? outcome.held.content->size() : 0;
        outcomes_.push_back(std::move(outcome));
    }
    for (sync::MailboxChange& change : engine_.take_mailbox_changes()) {
        others_depend_ = true;
        results_.mailboxes.push_back(std::move(change));
    }
    auto targets = engine_.take_target_changes();
    log_targets(targets);
    std::move(targets.begin(), targets.end(), std::back_inserter(results_.targets));
    auto pages = engine_.take_pages();
    std::erase_if(pages, [&](const sync::FolderPage& page) { return says_nothing(page); });
    std::move(pages.begin(), pages.end(), std::back_inserter(results_.pages));
    auto stamps = engine_.take_stamp_pages();
    std::move(stamps.begin(), stamps.end(), std::back_inserter(results_.stamp_pages));
}

// Before anything is decided anew: what was written counts only once it is recorded. Every
// transaction of these may fail, and all of it is done again then: what has been counted, or
// recorded, is out of the way by that time.
void Worker::record_results() {
    take_results();
    if (nothing_to_record() && withheld_links_.empty()) {
        return;
    }
    count_outcomes();
    put_back_withheld();
    write_results_at_hand();
    const Results recorded = std::exchange(results_, {});
    others_depend_ = false;
    content_in_results_ = 0;
    again_ |= repairs_go_on_ && !recorded.outcomes.empty();
    for (const sync::StampPage& page : recorded.stamp_pages) {
        if (page.complete || !page.listed) {
            listing_.erase(page.mailbox);
            again_ = true;
        }
    }
    for (const sync::FolderPage& page : recorded.pages) {
        if (page.complete) {
            awaited_.erase(page.mailbox);
        }
        if (page.listed && !page.complete && engine_.knows_mailbox(page.mailbox)) {
            engine_.list_changes(page.mailbox, page.state);
        }
        again_ |= !page.changes.empty() || page.from_start;
    }
    take_echoes(recorded.pages);
    take_repaired();
    take_in();
    // With what did not come in something may have ended, too.
    if (!results_.settled.empty()) {
        write_results_at_hand();
        results_ = {};
    }
}

void Worker::count_outcomes() {
    for (sync::Outcome& outcome : std::exchange(outcomes_, {})) {
        if (outcome.result == sync::Result::overtaken) {
            overtaken_.insert_or_assign(name_of(outcome), outcome.record);
        } else {
            count(outcome);
        }
        if (outcome.action == sync::Action::fetch || outcome.result == sync::Result::overtaken) {
            fetching_.erase(name_of(outcome));
            const bool for_repair = repairing_.erase(name_of(outcome)) > 0;
            (for_repair ? repaired_ : read_).push_back(std::move(outcome));
            again_ = true;
        } else {
            again_ |= outcome.undo != sync::UndoStep::none;
            note_made(outcome);
            results_.outcomes.push_back(std::move(outcome));
        }
    }
}

void Worker::count(const sync::Outcome& outcome) {
    if (!sync::comes_unasked(outcome.result)) {
        end(outcome.mailbox, outcome.record, outcome.result == sync::Result::released);
    }
}

void Worker::end(int mailbox, const std::string& record, bool released) {
    const auto link = link_of_mailbox_.find(mailbox);
    if (link == link_of_mailbox_.end()) {
        return;
    }
    auto ended = in_flight_.end_one(link->second, record, mailbox, released);
    LinkRuntime& runtime = runtimes_[link->second];
    if (ended.awaited) {
        again_ = true;
        runtime.position.took = true;  // its row may be behind where we are in this round
    }
    if (!ended.settled.empty() && runtime.total > 0) {
        ++runtime.done;
        report_progress(link->second, runtime);
    }
    std::move(ended.settled.begin(), ended.settled.end(), std::back_inserter(results_.settled));
}

void Worker::log_targets(const std::vector<sync::TargetChange>& changes) {
    for (const sync::TargetChange& change : changes) {
        if (change.failure) {
            reread_ = true;  // a file that its configuration names may be another one by now
        }
        if (change.recovered) {
            pg::log(LOG, "target \"" + change.target + "\" works again");
        } else if (change.failure && (change.attempts == 1 || !change.retry_after)) {
            pg::log(LOG, "target \"" + change.target + "\" " +
                             (change.retry_after ? "fails: " : "is stopped: ") +
                             change.failure->code + ": " + change.failure->message);
        }
    }
}

}  // namespace crmsync
