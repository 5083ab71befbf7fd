// The part of Engine that judges targets by their answers: how much each may be asked at once, and
// when a failing one is tried again.
#include <algorithm>
#include <iterator>
#include <utility>

#include "net/back_off.h"
#include "sync/engine.h"
#include "sync/jitter.h"

namespace crmsync::sync {

using exchange::Disposition;
using exchange::Failure;

namespace {

constexpr std::size_t largest_batch = 100;

// Requests in a row that meet trouble, before it is taken to be the target's.
constexpr int most_troubles = 3;

// For so long nobody may ask for the next request, while results are recorded or work is decided.
constexpr std::chrono::duration<double> owners_turn = std::chrono::milliseconds(50);

// What counts at most as the time between two answers: nothing may have been asked for meanwhile.
constexpr Clock::duration longest_between = std::chrono::milliseconds(100);

// A server that throttles may do so by refusing good credentials; with bad ones every attempt
// brings the account nearer to being locked. Where they have worked before it is tried again, but
// no more often than accounts usually bear: three times in the first half an hour.
constexpr std::chrono::milliseconds pauses_after_refusals[] = {
    std::chrono::seconds(10), std::chrono::minutes(5), std::chrono::minutes(30),
    std::chrono::hours(1)};

// A target that works is reported again after this time.
constexpr std::chrono::hours report_interval{1};

constexpr net::BackOff pauses{std::chrono::seconds(1), std::chrono::minutes(5),
                              std::chrono::hours(1)};
// Where somebody may have to change something.
constexpr net::BackOff long_pauses{std::chrono::seconds(10), std::chrono::minutes(5),
                                   std::chrono::hours(1)};

std::chrono::milliseconds pause_after_refusal(int refusals) {
    const auto last = static_cast<int>(std::size(pauses_after_refusals)) - 1;
    return pauses_after_refusals[std::clamp(refusals - 1, 0, last)];
}

}  // namespace

// ---- how it is ------------------------------------------------------------------------------

void Engine::set_target(const std::string& name, int max_connections, int ahead) {
    Target& target = targets_[name];
    target.ahead = std::max(0, ahead);
    target.max_connections = std::max(1, max_connections);
    target.window = std::min(target.window, target.max_connections);
}

void Engine::set_target_health(const std::string& name, const Health& health) {
    Target& target = targets_[name];
    target.attempts = health.attempts;
    target.window = health.attempts > 0 ? 1 : target.max_connections;
    target.stopped = health.stopped;
    target.worked = health.accepted;
    target.refusals = health.refusals;
    target.not_before = health.not_before;
    target.health_known = true;
}

void Engine::forget_acceptance(const std::string& name) {
    const auto target = targets_.find(name);
    if (target != targets_.end()) {
        target->second.worked = false;
    }
}

bool Engine::knows_health(const std::string& name) const {
    const auto target = targets_.find(name);
    return target != targets_.end() && target->second.health_known;
}

bool Engine::failing(const std::string& name) const {
    const auto target = targets_.find(name);
    return target != targets_.end() && (target->second.attempts > 0 || target->second.stopped);
}

bool Engine::stopped(const std::string& name) const {
    const auto target = targets_.find(name);
    return target != targets_.end() && target->second.stopped;
}

bool Engine::available(const std::string& name, Clock::time_point now) const {
    const auto target = targets_.find(name);
    return target == targets_.end() ||
           (!target->second.stopped && now >= target->second.not_before);
}

void Engine::retry(const std::string& name) {
    const auto target = targets_.find(name);
    if (target != targets_.end()) {
        target->second.stopped = false;
        target->second.attempts = 0;
        target->second.refusals = 0;
        target->second.troubles = 0;
        target->second.not_before = {};
    }
}

// ---- what it may be asked -------------------------------------------------------------------

void Engine::note_pace(Target& target, Clock::time_point now) {
    const std::chrono::duration<double> since = std::min(now - target.last_answer, longest_between);
    target.between_answers += (since - target.between_answers) / 16;
    target.last_answer = now;
}

// Only a target that does well gets requests before it has a connection for them: as many as it
// answers while the owner of the engine is busy. More would only keep fresh changes waiting.
int Engine::may_be_ahead(const Target& target) {
    const bool does_well = target.worked && target.attempts == 0 && target.troubles == 0 &&
                           target.window == target.max_connections &&
                           target.last_answer != Clock::time_point{};
    if (!does_well) {
        return 0;
    }
    const bool quick = target.between_answers * target.ahead < owners_turn;
    return quick ? target.ahead
                 : std::clamp(static_cast<int>(owners_turn / target.between_answers),
                              std::min(target.max_connections, target.ahead), target.ahead);
}

bool Engine::is_full(const Target& target) {
    return target.in_flight >= target.window + may_be_ahead(target);
}

// ---- by its answers -------------------------------------------------------------------------

void Engine::judge(const std::string& name, Target& target, const std::optional<Failure>& trouble,
                   Clock::time_point now, bool as_now) {
    if (!trouble) {
        if (as_now && !target.worked) {
            target.worked = true;
            target.noted = {};
        }
        // What was sent before a failure says nothing about what is after it.
        if (!target.stopped && now >= target.not_before) {
            target_succeeded(name, target, now);
        }
    } else if (exchange::concerns_target(*trouble) || ++target.troubles >= most_troubles) {
        target_failed(name, target, *trouble, now);
    } else {
        target.window = std::max(1, target.window / 2);
    }
}

void Engine::target_succeeded(const std::string& name, Target& target, Clock::time_point now) {
    target.window = std::min(target.max_connections, target.window + 1);
    if (target.batch < largest_batch && target.window == target.max_connections) {
        // Creep back up after the server was too slow for a batch.
        target.batch = std::min(largest_batch, target.batch + 1);
    }
    target.refusals = 0;
    target.troubles = 0;
    if (target.attempts > 0 || target.noted == Clock::time_point{} ||
        now - target.noted >= report_interval) {
        target.noted = now;
        const bool recovered = ::std::exchange(target.attempts, 0) > 0;
        target_changes_.push_back({.target = name,
                                   .failure = {},
                                   .retry_after = {},
                                   .recovered = recovered,
                                   .accepted = target.worked});
    }
}

void Engine::target_failed(const std::string& name, Target& target, const Failure& failure,
                           Clock::time_point now) {
    // Requests that were under way together fail together: that is one failure.
    if (target.stopped || now < target.not_before) {
        return;
    }
    ++target.attempts;
    target.window = 1;
    target.troubles = 0;
    target.last_failure = failure;
    const bool refused = failure.disposition == Disposition::credentials;
    if (refused && !target.worked) {
        target.stopped = true;
        target_changes_.push_back({name, failure, target.attempts, std::nullopt});
        release(name, failure);
        return;
    }
    std::optional<std::chrono::milliseconds> asked;
    if (failure.retry_after.count() > 0) {
        asked = failure.retry_after;
    }
    const auto pause =
        refused ? pause_after_refusal(++target.refusals)
                : net::pause_after(
                      target.attempts,
                      failure.disposition == Disposition::target_broken ? long_pauses : pauses,
                      jitter(), asked);
    target.not_before = now + pause;
    target_changes_.push_back({name, failure, target.attempts, pause});
    if (target.attempts > 1) {
        // A short disturbance keeps its queue; a longer one is looked at anew when it is over.
        release(name, failure);
    }
}

}  // namespace crmsync::sync
