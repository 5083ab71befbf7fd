#include "sync/engine.h"

#include <algorithm>
#include <random>
#include <utility>

#include "net/back_off.h"

namespace crmsync::sync {

using exchange::Disposition;
using exchange::Failure;

namespace {

constexpr std::size_t smallest_batch = 1;
constexpr std::size_t largest_batch = 100;
constexpr net::BackOff target_pauses{std::chrono::seconds(1), std::chrono::minutes(5),
                                     std::chrono::hours(1)};

double random_number() {
    static std::minstd_rand generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(generator);
}

}  // namespace

void Engine::set_target(const std::string& name, int max_connections) {
    targets_[name].max_connections = std::max(1, max_connections);
}

void Engine::set_target_health(const std::string& name, int attempts, bool stopped) {
    Target& target = targets_[name];
    target.attempts = attempts;
    target.stopped = stopped;
    target.health_known = true;
}

bool Engine::knows_health(const std::string& name) const {
    const auto target = targets_.find(name);
    return target != targets_.end() && target->second.health_known;
}

bool Engine::failing(const std::string& name) const {
    const auto target = targets_.find(name);
    return target != targets_.end() && (target->second.attempts > 0 || target->second.stopped);
}

void Engine::set_mailbox(MailboxDescription description) {
    const auto known = conversations_.find(description.id);
    if (known != conversations_.end()) {
        known->second.redescribe(std::move(description));
    } else {
        const int id = description.id;
        conversations_.emplace(id, Conversation(std::move(description)));
    }
}

void Engine::add(int mailbox, Task task, Clock::time_point) {
    Conversation& conversation = conversations_.at(mailbox);
    const bool fresh = task.fresh;
    conversation.add(std::move(task));
    make_ready(targets_.at(conversation.mailbox().target), conversation, fresh);
}

void Engine::make_ready(Target& target, const Conversation& conversation, bool first) {
    const int id = conversation.mailbox().id;
    if (!conversation.has_work() || !target.waiting.insert(id).second) {
        return;
    }
    if (first) {
        target.ready.push_front(id);
    } else {
        target.ready.push_back(id);
    }
}

std::optional<Sending> Engine::next(Clock::time_point now) {
    for (auto& [name, target] : targets_) {
        if (target.stopped || target.in_flight >= target.window || now < target.not_before) {
            continue;
        }
        for (std::size_t tries = target.ready.size(); tries > 0; --tries) {
            const int id = target.ready.front();
            target.ready.pop_front();
            Conversation& conversation = conversations_.at(id);
            if (!conversation.has_work()) {
                target.waiting.erase(id);
                continue;
            }
            const std::string& address = conversation.mailbox().account.mailbox;
            if (conversation.not_before() > now || target.busy_addresses.contains(address)) {
                target.ready.push_back(id);
                continue;
            }
            target.waiting.erase(id);
            target.busy_addresses.insert(address);
            ++target.in_flight;
            in_flight_.emplace(++last_id_, InFlight{id});
            return Sending{last_id_, name, conversation.mailbox().account,
                           conversation.next(target.batch)};
        }
    }
    return std::nullopt;
}

void Engine::answer(std::uint64_t sending, exchange::Answer answer, Clock::time_point now) {
    const auto flight = in_flight_.find(sending);
    if (flight == in_flight_.end()) {
        return;
    }
    Conversation& conversation = conversations_.at(flight->second.mailbox);
    in_flight_.erase(flight);
    const std::string name = conversation.mailbox().target;
    Target& target = targets_.at(name);
    --target.in_flight;
    target.busy_addresses.erase(conversation.mailbox().account.mailbox);

    const bool reached = !answer.failure;
    const auto failure = conversation.answer(std::move(answer), now);
    if (conversation.take_shrink()) {
        target.batch = std::max(smallest_batch, target.batch / 2);
        target.window = std::max(1, target.window / 2);
    }
    make_ready(target, conversation, false);
    if (failure) {
        target_failed(name, target, failure->failure, now);
    } else if (reached) {
        target_succeeded(name, target);
    }
    collect(conversation);
}

void Engine::target_succeeded(const std::string& name, Target& target) {
    target.worked = true;
    target.window = std::min(target.max_connections, target.window + 1);
    if (target.batch < largest_batch && target.window == target.max_connections) {
        // Creep back up after the server was too slow for a batch.
        target.batch = std::min(largest_batch, target.batch + 1);
    }
    if (target.attempts > 0) {
        target.attempts = 0;
        target_changes_.push_back({name, std::nullopt, 0, std::nullopt});
    }
}

void Engine::target_failed(const std::string& name, Target& target, const Failure& failure,
                           Clock::time_point now) {
    // Requests that were under way together fail together: that is one failure.
    if (now < target.not_before) {
        return;
    }
    ++target.attempts;
    target.window = 1;
    const bool bad_credentials =
        failure.disposition == Disposition::credentials && (!target.worked || target.attempts > 2);
    if (bad_credentials) {
        // Trying again and again would lock the account.
        target.stopped = true;
        target_changes_.push_back({name, failure, target.attempts, std::nullopt});
        release(name, failure);
        return;
    }
    std::optional<std::chrono::milliseconds> asked;
    if (failure.retry_after.count() > 0) {
        asked = failure.retry_after;
    }
    const auto pause = net::pause_after(target.attempts, target_pauses, random_number(), asked);
    target.not_before = now + pause;
    target_changes_.push_back({name, failure, target.attempts, pause});
    if (target.attempts > 1) {
        // A short disturbance keeps its queue; a longer one is looked at anew when it is over.
        release(name, failure);
    }
}

void Engine::release(const std::string& name, const Failure& failure) {
    Target& target = targets_.at(name);
    for (const int id : target.ready) {
        Conversation& conversation = conversations_.at(id);
        conversation.drop(Result::released, failure);
        collect(conversation);
    }
    target.ready.clear();
    target.waiting.clear();
}

void Engine::retry(const std::string& name) {
    const auto target = targets_.find(name);
    if (target != targets_.end()) {
        target->second.stopped = false;
        target->second.attempts = 0;
        target->second.not_before = {};
    }
}

bool Engine::available(const std::string& name, Clock::time_point now) const {
    const auto target = targets_.find(name);
    return target == targets_.end() ||
           (!target->second.stopped && now >= target->second.not_before);
}

std::optional<Clock::time_point> Engine::next_time() const {
    std::optional<Clock::time_point> earliest;
    for (const auto& [name, target] : targets_) {
        if (target.stopped || target.ready.empty() || target.in_flight >= target.window) {
            continue;
        }
        for (const int id : target.ready) {
            const Conversation& conversation = conversations_.at(id);
            if (target.busy_addresses.contains(conversation.mailbox().account.mailbox)) {
                continue;
            }
            const auto time = std::max(target.not_before, conversation.not_before());
            earliest = earliest ? std::min(*earliest, time) : time;
        }
    }
    return earliest;
}

void Engine::collect(Conversation& conversation) {
    std::move(conversation.outcomes().begin(), conversation.outcomes().end(),
              std::back_inserter(outcomes_));
    conversation.outcomes().clear();
    std::move(conversation.changes().begin(), conversation.changes().end(),
              std::back_inserter(mailbox_changes_));
    conversation.changes().clear();
}

std::vector<Outcome> Engine::take_outcomes() {
    return ::std::exchange(outcomes_, {});
}

std::vector<MailboxChange> Engine::take_mailbox_changes() {
    return ::std::exchange(mailbox_changes_, {});
}

std::vector<TargetChange> Engine::take_target_changes() {
    return ::std::exchange(target_changes_, {});
}

std::size_t Engine::queued() const {
    std::size_t count = 0;
    for (const auto& [name, target] : targets_) {
        count += queued(name);
    }
    return count;
}

std::size_t Engine::queued(const std::string& name) const {
    std::size_t count = 0;
    const auto target = targets_.find(name);
    if (target != targets_.end()) {
        for (const int id : target->second.ready) {
            count += conversations_.at(id).queued();
        }
    }
    return count;
}

}  // namespace crmsync::sync
