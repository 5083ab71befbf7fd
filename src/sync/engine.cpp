#include "sync/engine.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace crmsync::sync {

using exchange::Disposition;
using exchange::Failure;

namespace {

constexpr std::size_t smallest_batch = 1;

}  // namespace

// ---- who is next ----------------------------------------------------------------------------

void Engine::Ready::add(int mailbox, bool fresh) {
    const Tier tier = fresh ? fresh_tier : other_tier;
    const auto [known, is_new] = tiers_.try_emplace(mailbox, tier);
    if (is_new || tier < known->second) {
        known->second = tier;
        queues_[tier].push_back(mailbox);
    }
}

void Engine::Ready::clear() {
    for (std::deque<int>& queue : queues_) {
        queue.clear();
    }
    tiers_.clear();
}

template <typename May>
std::optional<int> Engine::Ready::take(const May& may) {
    for (const Tier tier : {fresh_tier, other_tier}) {
        std::deque<int>& queue = queues_[tier];
        for (std::size_t tries = queue.size(); tries > 0; --tries) {
            const int mailbox = queue.front();
            queue.pop_front();
            const auto known = tiers_.find(mailbox);
            if (known == tiers_.end() || known->second != tier) {
                continue;
            }
            if (may(mailbox)) {
                tiers_.erase(known);
                return mailbox;
            }
            queue.push_back(mailbox);
        }
    }
    return std::nullopt;
}

template <typename Visit>
void Engine::Ready::each(const Visit& visit) const {
    for (const auto& [mailbox, tier] : tiers_) {
        visit(mailbox);
    }
}

void Engine::make_ready(const Conversation& conversation) {
    if (conversation.has_work()) {
        targets_.at(conversation.mailbox().target)
            .ready.add(conversation.mailbox().id, conversation.has_fresh_work());
    }
}

// Of one whose address has changed a request may be under way to the old one.
bool Engine::is_free(const Target& target, const Conversation& conversation) {
    return !conversation.under_way() &&
           !target.busy_addresses.contains(conversation.mailbox().account.mailbox);
}

std::optional<Sending> Engine::next(Clock::time_point now) {
    for (auto& [name, target] : targets_) {
        if (target.stopped || is_full(target) || now < target.not_before) {
            continue;
        }
        const auto mailbox = target.ready.take([&, &target = target](int id) {
            const Conversation& conversation = conversations_.at(id);
            return conversation.not_before() <= now && is_free(target, conversation);
        });
        if (!mailbox) {
            continue;
        }
        Conversation& conversation = conversations_.at(*mailbox);
        conversation.locate_folder(now);
        const exchange::Account& account = conversation.mailbox().account;
        target.busy_addresses.insert(account.mailbox);
        ++target.in_flight;
        in_flight_.emplace(++last_id_, InFlight{*mailbox, name, account.mailbox, target.releases});
        Sending sending{last_id_, *mailbox, name, account, conversation.next(target.batch)};
        collect(conversation);
        return sending;
    }
    return std::nullopt;
}

std::optional<Clock::time_point> Engine::next_time() const {
    std::optional<Clock::time_point> earliest;
    for (const auto& [name, entry] : targets_) {
        const Target& target = entry;
        if (target.stopped || is_full(target)) {
            continue;
        }
        target.ready.each([&](int id) {
            const Conversation& conversation = conversations_.at(id);
            if (is_free(target, conversation)) {
                const auto time = std::max(target.not_before, conversation.not_before());
                earliest = earliest ? std::min(*earliest, time) : time;
            }
        });
    }
    return earliest;
}

// ---- what is known of mailboxes -------------------------------------------------------------

void Engine::set_mailbox(MailboxDescription description) {
    const auto known = conversations_.find(description.id);
    if (known == conversations_.end()) {
        const int id = description.id;
        conversations_.emplace(id, Conversation(std::move(description)));
        return;
    }
    Conversation& conversation = known->second;
    const std::string before = conversation.mailbox().target;
    if (before != description.target) {
        drop(conversation, {.disposition = Disposition::back_off,
                            .code = "MOVED",
                            .message = "the mailbox is at another target now"});
        Target& old = targets_.at(before);
        old.ready.remove(description.id);
        old.tasks -= conversation.unfinished();
        targets_.at(description.target).tasks += conversation.unfinished();
    }
    conversation.redescribe(std::move(description));
    make_ready(conversation);
}

bool Engine::set_address(int mailbox, const std::string& address) {
    const auto known = conversations_.find(mailbox);
    if (known == conversations_.end()) {
        return false;
    }
    MailboxDescription description = known->second.mailbox();
    description.account.mailbox = address;
    description.troubled = false;
    set_mailbox(std::move(description));
    return known->second.under_way();
}

// ---- tasks in, answers in -------------------------------------------------------------------

void Engine::add(int mailbox, Task task, Clock::time_point) {
    Conversation& conversation = conversations_.at(mailbox);
    Target& target = targets_.at(conversation.mailbox().target);
    ++target.tasks;
    conversation.add(std::move(task));
    if (target.stopped) {
        drop(conversation, target.last_failure);
    } else {
        collect(conversation);
        make_ready(conversation);
    }
}

void Engine::list_changes(int mailbox, std::string state) {
    Conversation& conversation = conversations_.at(mailbox);
    const Target& target = targets_.at(conversation.mailbox().target);
    conversation.list_changes(std::move(state));
    if (target.stopped) {
        drop(conversation, target.last_failure);
    } else {
        make_ready(conversation);
    }
}

void Engine::take_inventory(int mailbox) {
    Conversation& conversation = conversations_.at(mailbox);
    const Target& target = targets_.at(conversation.mailbox().target);
    conversation.take_inventory();
    if (target.stopped) {
        drop(conversation, target.last_failure);
    } else {
        make_ready(conversation);
    }
}

std::optional<Engine::InFlight> Engine::take_in_flight(std::uint64_t sending) {
    auto sent = in_flight_.extract(sending);
    if (sent.empty()) {
        return std::nullopt;
    }
    Target& target = targets_.at(sent.mapped().target);
    --target.in_flight;
    target.busy_addresses.erase(sent.mapped().address);
    return std::move(sent.mapped());
}

void Engine::not_sent(std::uint64_t sending) {
    const auto flight = take_in_flight(sending);
    if (!flight) {
        return;
    }
    const Target& target = targets_.at(flight->target);
    Conversation& conversation = conversations_.at(flight->mailbox);
    conversation.not_sent();
    if (target.stopped || flight->releases != target.releases) {
        drop(conversation, target.last_failure);
    }
    collect(conversation);
    make_ready(conversation);
}

void Engine::answer(std::uint64_t sending, exchange::Answer answer, Clock::time_point now,
                    bool as_now) {
    const auto taken = take_in_flight(sending);
    if (!taken) {
        return;
    }
    const InFlight& flight = *taken;
    Target& target = targets_.at(flight.target);
    Conversation& conversation = conversations_.at(flight.mailbox);
    note_pace(target, now);
    if (target.worked && answer.failure && answer.failure->scope == exchange::Scope::mailbox &&
        answer.failure->disposition == Disposition::target_broken) {
        // Where others have been answered it is not the address that is wrong.
        answer.failure->disposition = Disposition::back_off;
    }
    const bool may_be_of_all = answer.failure &&
                               answer.failure->scope == exchange::Scope::request &&
                               answer.failure->disposition == Disposition::bisect;
    const auto trouble = conversation.answer(std::move(answer), now);
    if (conversation.take_shrink()) {
        target.batch = std::max(smallest_batch, target.batch / 2);
    }
    if (trouble || !may_be_of_all) {
        judge(flight.target, target, trouble, now, as_now);
    }
    // What is left to do of a request that was under way when everything else was released.
    if (target.stopped || flight.releases != target.releases) {
        drop(conversation, trouble.value_or(target.last_failure));
    }
    collect(conversation);
    make_ready(conversation);
}

void Engine::release(const std::string& name, const Failure& failure) {
    const auto target = targets_.find(name);
    if (target == targets_.end()) {
        return;
    }
    for (auto& [id, conversation] : conversations_) {
        if (conversation.mailbox().target == name) {
            drop(conversation, failure);
        }
    }
    target->second.ready.clear();
    ++target->second.releases;
}

void Engine::release(const Failure& failure) {
    for (const auto& [name, target] : targets_) {
        release(name, failure);
    }
}

void Engine::release(int mailbox, const Failure& failure) {
    const auto known = conversations_.find(mailbox);
    if (known == conversations_.end()) {
        return;
    }
    drop(known->second, failure);
    for (auto& [id, flight] : in_flight_) {
        if (flight.mailbox == mailbox) {
            flight.releases = released;
        }
    }
}

bool Engine::idle(int mailbox) const {
    const auto known = conversations_.find(mailbox);
    return known == conversations_.end() ||
           (known->second.unfinished() == 0 && !known->second.has_work() &&
            !known->second.under_way());
}

void Engine::forget(int mailbox) {
    const auto known = conversations_.find(mailbox);
    if (known != conversations_.end()) {
        targets_.at(known->second.mailbox().target).ready.remove(mailbox);
        conversations_.erase(known);
    }
}

// ---- outcomes -------------------------------------------------------------------------------

void Engine::drop(Conversation& conversation, const Failure& failure) {
    conversation.drop(Result::released, failure);
    targets_.at(conversation.mailbox().target).ready.remove(conversation.mailbox().id);
    collect(conversation);
}

void Engine::collect(Conversation& conversation) {
    Target& target = targets_.at(conversation.mailbox().target);
    for (Outcome& outcome : conversation.outcomes()) {
        if (!comes_unasked(outcome.result)) {
            --target.tasks;
        }
        outcomes_.push_back(std::move(outcome));
    }
    conversation.outcomes().clear();
    std::move(conversation.changes().begin(), conversation.changes().end(),
              std::back_inserter(mailbox_changes_));
    conversation.changes().clear();
    std::move(conversation.pages().begin(), conversation.pages().end(), std::back_inserter(pages_));
    conversation.pages().clear();
    std::move(conversation.stamp_pages().begin(), conversation.stamp_pages().end(),
              std::back_inserter(stamp_pages_));
    conversation.stamp_pages().clear();
    std::move(conversation.doubts().begin(), conversation.doubts().end(),
              std::back_inserter(doubts_));
    conversation.doubts().clear();
    std::move(conversation.wanted().begin(), conversation.wanted().end(),
              std::back_inserter(wanted_));
    conversation.wanted().clear();
}

std::vector<WantedContent> Engine::take_wanted() {
    return ::std::exchange(wanted_, {});
}

void Engine::supply(const WantedContent& wanted, record::Content content,
                    const std::optional<Failure>& failure) {
    const auto known = conversations_.find(wanted.mailbox);
    if (known != conversations_.end()) {
        known->second.supply(wanted, std::move(content), failure);
        collect(known->second);
        make_ready(known->second);
    }
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

std::vector<FolderPage> Engine::take_pages() {
    return ::std::exchange(pages_, {});
}

std::vector<StampPage> Engine::take_stamp_pages() {
    return ::std::exchange(stamp_pages_, {});
}

std::vector<Doubt> Engine::take_doubts() {
    return ::std::exchange(doubts_, {});
}

std::size_t Engine::queued() const {
    std::size_t count = 0;
    for (const auto& [name, target] : targets_) {
        count += target.tasks;
    }
    return count;
}

std::size_t Engine::queued(const std::string& name) const {
    const auto target = targets_.find(name);
    return target == targets_.end() ? 0 : target->second.tasks;
}

}  // namespace crmsync::sync
