#include "server/worker/worker.h"

#include <algorithm>
#include <utility>

#include "server/configuration/relation_watch.h"
#include "server/postgres/log.h"
#include "server/postgres/preload.h"
#include "server/postgres/transaction.h"
#include "server/state/history.h"

namespace crmsync {

namespace {

using namespace std::chrono_literals;

// A lost wake-up costs no more than this.
constexpr auto poll_interval = 5s;

// Requests handed out before there is a connection for them, for each connection.
constexpr int requests_ahead = 4;

// Whether nothing is sent there, however often it is asked for, until somebody has mended it.
bool is_stopped(const Survey& survey, const std::string& target) {
    return std::any_of(
        survey.targets.begin(), survey.targets.end(),
        [&](const TargetHealth& health) { return health.target == target && health.stopped; });
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
            forget_creates();
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
    if (!nothing_to_record()) {
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
            const bool as_now = target != configuration_.targets.end() &&
                                target->second.endpoint == sent->second.endpoint;
            if (answer.failure &&
                answer.failure->disposition == exchange::Disposition::credentials &&
                target != configuration_.targets.end() && !as_now) {
                // Of the credentials that somebody has just replaced: the new ones have their try.
                answer.failure->disposition = exchange::Disposition::back_off;
            }
            engine_.answer(sent->second.sending, std::move(answer), Clock::now(), as_now);
        }
        again_ |= moving_.contains(sent->second.mailbox);
        sent_.erase(sent);
    }
    note_doubts();
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
        refused.failure = {.disposition = exchange::Disposition::target_broken,
                           .code = "CONFIGURATION",
                           .message = target == configuration_.targets.end()
                                          ? std::string("the target does not exist any more")
                                          : target->second.problem,
                           .scope = exchange::Scope::target};
        engine_.answer(sending->id, std::move(refused), Clock::now());
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
    creates_.inherit();
    readdress(carry_out_requests());
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
            pg::log(LOG,
                    "this database is not the one that was confirmed: nothing is written until "
                    "crmsync.confirm_identity()");
        }
        return;
    }
    identity_reported_ = false;
    start_runs(survey);
    move_mailboxes(survey);
    for (const auto& [id, link] : configuration_.links) {
        read_inbound(link);
    }
}

void Worker::reconfigure(const std::string& fingerprint) {
    if (fingerprint == fingerprint_ && !reread_ && !relations_changed()) {
        return;
    }
    reread_ = true;  // until all of this has been done
    begin_watching_relations();
    pg::Transaction transaction("reading the configuration");
    Configuration configuration = read_configuration();
    watch_relations_served();
    for (const auto& [id, link] : configuration.links) {
        if (fingerprint != fingerprint_ && link.enabled && !link.inbound) {
            pg::query("SELECT crmsync.forget_arrivals($1)", id);
        }
    }
    transaction.commit();
    again_ |= compare_redefined();
    if (configuration.identity_confirmed != configuration_.identity_confirmed) {
        start_afresh();
    } else if (fingerprint != fingerprint_) {
        take_back();
    }
    configuration_ = std::move(configuration);
    for (auto& [id, runtime] : runtimes_) {
        runtime.triggers_checked = {};  // there may be other partitions
    }
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
        {exchange::Disposition::back_off, "CONFIGURATION", "the configuration changed"});
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
    in_flight_ = sync::WorkInFlight();
    moving_.clear();
    awaited_.clear();
    creates_ = CreatesUnderWay();
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
            engine_.set_target_health(health.target,
                                      {.attempts = health.attempts,
                                       .stopped = health.stopped,
                                       .accepted = health.accepted,
                                       .refusals = health.refused ? health.attempts : 0,
                                       .not_before = Clock::now() + health.pause});
            continue;
        }
        if (!health.accepted) {
            engine_.forget_acceptance(health.target);
        }
        if (!health.troubled && engine_.failing(health.target)) {
            // Somebody said that it works: resume_target or alter_target.
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
            runtime.crowded.clear();
            // Its last record may have been settled since this link was looked at.
            report_progress(id, runtime);
        }
    }
    held_until_ = Clock::time_point::max();
    for (const int id : survey.busy_links) {
        runtimes_[id].more |= may_look(id, survey);
    }
    for (const auto& [id, link] : configuration_.links) {
        // Also where there is nothing else to do, whoever looks is to see that it cannot work.
        runtimes_[id].more |= link.enabled && !link.problem.empty() && !runtimes_[id].in_trouble &&
                              configuration_.targets.at(link.target).kind != "ldap";
    }
    for (auto& [id, runtime] : runtimes_) {
        const auto due = survey.due_comparisons.find(id);
        runtime.comparison_due.reset();
        if (due != survey.due_comparisons.end() && comparisons_.rested(id, due->second)) {
            runtime.comparison_due = due->second;
        }
        if (asked_for(id)) {
            runtime.read_soon = true;
            runtime.not_before = std::min(runtime.not_before, Clock::now() + pause_after_error);
        }
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
        const auto asked = asked_for(link);
        if (!start_run(imports_, link) && asked) {
            waiting.emplace(link, *asked);
        }
    }
    requested_ = std::move(waiting);
    everything_requested_.reset();
}

bool Worker::start_run(RunSchedule& schedule, int link, std::int64_t request) {
    if (schedule.start(link, request)) {
        return true;
    }
    if (note_link_waits(link, "WORKER-SLOT", "no free worker slot: raise max_worker_processes")) {
        pg::log(LOG, "no free worker slot for link \"" + configuration_.links.at(link).name +
                         "\": raise max_worker_processes");
    }
    return false;
}

}  // namespace crmsync
