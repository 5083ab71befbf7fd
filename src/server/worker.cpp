#include "server/worker.h"

#include <algorithm>
#include <utility>

#include "server/history.h"
#include "server/log.h"
#include "server/preload.h"
#include "server/transaction.h"

namespace crmsync {

namespace {

using namespace std::chrono_literals;

// A lost wake-up costs no more than this.
constexpr auto poll_interval = 5s;

// Results that are recorded together, if they come within this time.
constexpr std::size_t results_at_once = 500;
constexpr auto longest_wait_for_results = 20ms;
constexpr std::size_t most_content_in_results = 8U << 20U;  // bytes

// Requests handed out before there is a connection for them, for each connection.
constexpr int requests_ahead = 4;

// Whether nothing is sent there, however often it is asked for, until somebody has mended it.
bool is_stopped(const Survey& survey, const std::string& target) {
    return std::any_of(
        survey.targets.begin(), survey.targets.end(),
        [&](const TargetHealth& health) { return health.target == target && health.stopped; });
}

void log_line(const std::string& text) {
    pg::log(LOG, text);
}

}  // namespace

Worker::Worker()
    : events_(courier_.descriptor()),
      imports_("crmsync_directory_main", "crmsync directory"),
      comparisons_("crmsync_comparison_main", "crmsync comparison") {
    doubt_all_creates();
}

// Turns are short, whatever there is to do: a server is not to wait for its next request while we
// record or decide.
void Worker::run() {
    auto next_poll = Clock::now();
    auto next_housekeeping = Clock::now() + 1min;
    bool look = true;
    for (;;) {
        pg::report_idle(courier_.under_way() > 0 ? "waiting for targets" : "waiting for changes");
        look |= preload().take_wakeup();
        const auto woken =
            events_.wait(look || next_link() != nullptr ? 0ms : next_wait(next_poll));
        reread_ |= events_.take_reloaded();
        look |= woken == EventLoop::Woken::by_latch;
        look |= preload().take_wakeup();
        receive();
        send();
        take_results();
        supply_contents();
        const auto now = Clock::now();
        const bool poll = now >= next_poll;
        if (poll) {
            next_poll = now + poll_interval;
        }
        look |= std::exchange(again_, false) || now >= next_reading() || now >= held_until_;
        if (preload().enabled() && (look || poll)) {
            record_results();
            pass(poll);
            work();
        } else if (!results_may_wait()) {
            record_results();
        } else if (preload().enabled()) {
            work();
        }
        send();
        look = std::exchange(again_, false);
        if (now >= next_housekeeping) {
            next_housekeeping = now + 1min;
            forget_old();
        }
    }
}

std::optional<std::chrono::milliseconds> Worker::next_wait(Clock::time_point next_poll) const {
    const auto now = Clock::now();
    auto until = std::max(now, std::min({next_poll, next_reading(), held_until_}));
    if (const auto engine = may_send() ? engine_.next_time() : std::nullopt) {
        until = std::min(until, std::max(*engine, now));
    }
    auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    if (!results_.empty()) {
        wait = std::min(wait, longest_wait_for_results);
    }
    return std::max(wait, std::chrono::milliseconds(0));
}

void Worker::receive() {
    for (exchange::Delivery& delivery : courier_.take()) {
        const auto sent = sent_.find(delivery.id);
        if (sent == sent_.end()) {
            continue;
        }
        if (!delivery.answer) {
            engine_.not_sent(sent->second.sending);
        } else {
            exchange::Answer& answer = *delivery.answer;
            const auto target = configuration_.targets.find(sent->second.target);
            if (answer.failure &&
                answer.failure->disposition == exchange::Disposition::credentials &&
                target != configuration_.targets.end() &&
                target->second.endpoint != sent->second.endpoint) {
                // Of the credentials that somebody has just replaced: the new ones have their try.
                answer.failure->disposition = exchange::Disposition::back_off;
            }
            engine_.answer(sent->second.sending, std::move(answer), Clock::now());
        }
        again_ |= moving_.contains(sent->second.mailbox);
        sent_.erase(sent);
    }
    note_creates_due();
}

bool Worker::may_send() const {
    return preload().enabled() && configuration_.identity_confirmed;
}

void Worker::send() {
    if (!may_send()) {
        return;
    }
    while (auto sending = engine_.next(Clock::now())) {
        if (auto* create = std::get_if<exchange::CreateItems>(&sending->operation)) {
            create->attempt = next_attempt(sending->mailbox);
        }
        const auto target = configuration_.targets.find(sending->target);
        if (target != configuration_.targets.end() && target->second.endpoint) {
            sent_.emplace(++last_parcel_, Sent{sending->id, sending->mailbox, sending->target,
                                               target->second.endpoint});
            courier_.send({last_parcel_, target->second.endpoint, std::move(sending->operation),
                           std::move(sending->account)});
            continue;
        }
        exchange::Answer refused;
        refused.failure = {exchange::Disposition::target_broken, "configuration",
                           target == configuration_.targets.end()
                               ? std::string("the target does not exist any more")
                               : target->second.problem};
        engine_.answer(sending->id, std::move(refused), Clock::now());
    }
}

void Worker::count(const sync::Outcome& outcome) {
    if (sync::comes_unasked(outcome.result)) {
        return;
    }
    const auto link = link_of_mailbox_.find(outcome.mailbox);
    if (link == link_of_mailbox_.end()) {
        return;
    }
    const bool to_be_done =
        outcome.result == sync::Result::released || outcome.result == sync::Result::overtaken;
    auto ended = in_flight_.end_one(link->second, outcome.record, to_be_done);
    again_ |= ended.awaited;
    LinkRuntime& runtime = runtimes_[link->second];
    if (!ended.settled.empty() && runtime.total > 0) {
        ++runtime.done;
        report_progress(link->second, runtime);
    }
    std::move(ended.settled.begin(), ended.settled.end(), std::back_inserter(results_.settled));
}

// A handful of statements records any number of results: while more are about to come they wait.
// Not what others are decided by: an item that was met in a mailbox.
bool Worker::results_may_wait() const {
    return results_.empty() ||
           (!something_found_ && results_.outcomes.size() < results_at_once &&
            content_in_results_ < most_content_in_results && courier_.under_way() > 0 &&
            Clock::now() - results_since_ < longest_wait_for_results);
}

void Worker::take_results() {
    if (results_.empty()) {
        results_since_ = Clock::now();
    }
    for (sync::Outcome& outcome : engine_.take_outcomes()) {
        something_found_ |= outcome.result == sync::Result::found;
        content_in_results_ += outcome.held.content ? outcome.held.content->size() : 0;
        results_.outcomes.push_back(std::move(outcome));
    }
    auto mailboxes = engine_.take_mailbox_changes();
    std::move(mailboxes.begin(), mailboxes.end(), std::back_inserter(results_.mailboxes));
    auto targets = engine_.take_target_changes();
    log_targets(targets);
    std::move(targets.begin(), targets.end(), std::back_inserter(results_.targets));
    auto pages = engine_.take_pages();
    std::erase_if(pages, [&](const sync::FolderPage& page) { return says_nothing(page); });
    std::move(pages.begin(), pages.end(), std::back_inserter(results_.pages));
    auto stamps = engine_.take_stamp_pages();
    std::move(stamps.begin(), stamps.end(), std::back_inserter(results_.stamp_pages));
}

// Before anything is decided anew: what was written counts only once it is recorded.
void Worker::record_results() {
    take_results();
    if (results_.empty()) {
        return;
    }
    std::vector<sync::Outcome> read;
    std::erase_if(results_.outcomes, [&](sync::Outcome& outcome) {
        const bool is_read =
            outcome.action == sync::Action::fetch || outcome.result == sync::Result::overtaken;
        if (is_read) {
            read.push_back(std::move(outcome));
        } else {
            again_ |= outcome.undo;
            note_made(outcome);
            count(outcome);
        }
        return is_read;
    });
    write_results(results_);
    again_ |= repairs_go_on_ && !results_.outcomes.empty();
    const std::vector<sync::FolderPage> pages = std::move(results_.pages);
    for (const sync::StampPage& page : results_.stamp_pages) {
        if (page.complete || !page.listed) {
            listing_.erase(page.mailbox);
            again_ = true;
        }
    }
    results_ = Results{};
    something_found_ = false;
    content_in_results_ = 0;
    for (const sync::FolderPage& page : pages) {
        if (page.complete) {
            awaited_.erase(page.mailbox);
        }
        if (page.listed && !page.complete && engine_.knows_mailbox(page.mailbox)) {
            engine_.list_changes(page.mailbox, page.state);
        }
        again_ |= !page.changes.empty() || page.from_start;
    }
    take_echoes(pages);
    take_repaired(read);
    take_in(std::move(read));
}

void Worker::log_targets(const std::vector<sync::TargetChange>& changes) {
    for (const sync::TargetChange& change : changes) {
        if (change.failure) {
            reread_ = true;  // a file that its configuration names may be another one by now
        }
        if (!change.failure) {
            log_line("target \"" + change.target + "\" works again");
        } else if (change.attempts == 1 || !change.retry_after) {
            log_line("target \"" + change.target + "\" " +
                     (change.retry_after ? "fails: " : "is stopped: ") + change.failure->code +
                     ": " + change.failure->message);
        }
    }
}

void Worker::take_requests() {
    std::int32_t links[64];
    TimestampTz asked = 0;
    const int count = preload().take_requests(links, 64, &asked);
    if (count < 0) {
        everything_requested_ = asked;
    }
    for (int i = 0; i < count; ++i) {
        requested_[links[i]] = asked;
    }
    position_requested_ |= count != 0;
}

std::optional<std::int64_t> Worker::asked_for(int link) const {
    const auto request = requested_.find(link);
    return request == requested_.end() ? everything_requested_ : request->second;
}

void Worker::pass(bool everything) {
    carry_out_requests();
    take_requests();
    log_.consume(position_requested_);
    position_requested_ = false;
    const Survey survey = take_survey(everything);
    note_targets(survey);
    reconfigure(survey.fingerprint);
    note_links(survey);
    if (everything) {
        log_.rotate();
    }
    if (!configuration_.identity_confirmed && !configuration_.links.empty()) {
        if (!identity_reported_) {
            identity_reported_ = true;
            log_line(
                "this database is not the one that was confirmed: nothing is written until "
                "crmsync.confirm_identity()");
        }
        return;
    }
    identity_reported_ = false;
    start_runs(survey);
    move_mailboxes(survey);
    for (const auto& [id, link] : configuration_.links) {
        if (link.reads && link.problem.empty()) {
            read_inbound(link);
        }
    }
}

void Worker::reconfigure(const std::string& fingerprint) {
    if (fingerprint == fingerprint_ && !reread_) {
        return;
    }
    pg::Transaction transaction("reading the configuration");
    Configuration configuration = read_configuration();
    transaction.commit();
    if (configuration.identity_confirmed != configuration_.identity_confirmed) {
        start_afresh();
    } else if (fingerprint != fingerprint_) {
        take_back();
    }
    configuration_ = std::move(configuration);
    for (const auto& [name, target] : configuration_.targets) {
        const int connections = target.endpoint ? target.endpoint->max_connections : 1;
        engine_.set_target(name, connections, requests_ahead * connections);
    }
    fingerprint_ = fingerprint;
    reread_ = false;
}

// What is queued was decided by what was configured before: it is decided anew.
void Worker::take_back() {
    courier_.recall();
    engine_.release(
        {exchange::Disposition::back_off, "configuration", "the configuration changed"});
    for (auto& [id, runtime] : runtimes_) {
        runtime.position = PendingPosition{};
    }
}

// Under another identity nothing is known of any folder: another database may have written there.
void Worker::start_afresh() {
    record_results();
    courier_.recall();
    engine_ = sync::Engine();
    doubt_all_creates();
    sent_.clear();
    in_flight_ = WorkInFlight();
    moving_.clear();
    awaited_.clear();
    echoes_ = Echoes();
    fetching_.clear();
    listing_.clear();
    contents_ = ContentSupply();
    repairing_.clear();
    link_of_mailbox_.clear();
    runtimes_.clear();
    preload().set_progress(0, "", -1, 0);
}

void Worker::note_targets(const Survey& survey) {
    for (const TargetHealth& health : survey.targets) {
        if (!engine_.knows_health(health.target)) {
            engine_.set_target_health(health.target, health.attempts, health.stopped);
        } else if (!health.troubled && engine_.failing(health.target)) {
            // Somebody said that it works: resume_target, retry or alter_target.
            engine_.retry(health.target);
            reread_ = true;
        }
    }
}

void Worker::note_links(const Survey& survey) {
    for (auto& [id, runtime] : runtimes_) {
        const auto& busy = survey.busy_links;
        if (std::find(busy.begin(), busy.end(), id) == busy.end()) {
            runtime.more = runtime.more_deletes = false;
        }
    }
    held_until_ = Clock::time_point::max();
    for (const int id : survey.busy_links) {
        runtimes_[id].more |= may_look(id, survey);
    }
    for (auto& [id, runtime] : runtimes_) {
        runtime.comparison_due = survey.due_comparisons.contains(id);
        runtime.read_soon |= asked_for(id).has_value();
    }
}

// Where changes are looked for only now and then, unless somebody asks. What a comparison finds
// does not wait.
bool Worker::may_look(int id, const Survey& survey) {
    const auto link = configuration_.links.find(id);
    if (link == configuration_.links.end() || !link->second.outbound_interval ||
        survey.due_comparisons.contains(id)) {
        return true;
    }
    LinkRuntime& runtime = runtimes_[id];
    const auto now = Clock::now();
    if (now < runtime.next_sending && !asked_for(id)) {
        held_until_ = std::min(held_until_, runtime.next_sending);
        return false;
    }
    runtime.next_sending = now + *link->second.outbound_interval;
    return true;
}

void Worker::start_runs(const Survey& survey) {
    std::set<int> due;
    std::map<int, std::int64_t> waiting;
    for (const int link : survey.due_runs) {
        // Whatever ends a run before it can say when it should be tried again.
        if (imports_.rested(link)) {
            due.insert(link);
        }
    }
    for (const auto& [id, link] : configuration_.links) {
        const auto asked = asked_for(id);
        if (!asked || configuration_.targets.at(link.target).kind != "ldap") {
            continue;
        }
        // Who asks wants a run that begins after that: one that is under way may have begun
        // before, or not yet. Its end wakes us.
        if (is_stopped(survey, link.target) || imports_.running(id)) {
            waiting.emplace(id, *asked);
        } else if (last_run(id) < *asked) {
            due.insert(id);
        }
    }
    for (const int link : due) {
        if (!start_run(imports_, link)) {
            waiting.emplace(link, asked_for(link).value_or(0));
        }
    }
    requested_ = std::move(waiting);
    everything_requested_.reset();
}

bool Worker::start_run(RunSchedule& schedule, int link) {
    if (schedule.start(link)) {
        return true;
    }
    if (note_link_waits(link, "WORKER-SLOT", "no free worker slot: raise max_worker_processes")) {
        log_line("no free worker slot for link \"" + configuration_.links.at(link).name +
                 "\": raise max_worker_processes");
    }
    return false;
}

}  // namespace crmsync
