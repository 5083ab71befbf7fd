#include "server/outbound/link_decision.h"

#include <algorithm>

#include "server/state/loops.h"

namespace crmsync {

namespace {

sync::Outcome without_network(sync::Result result, const MailboxFacts& mailbox,
                              const std::string& key, exchange::Failure failure) {
    sync::Outcome outcome{};
    outcome.mailbox = mailbox.id;
    outcome.result = result;
    outcome.action = sync::Action::update;
    outcome.record = key;
    outcome.failure = std::move(failure);
    return outcome;
}

const KnownFailure* failure_in(const RecordFacts& record, const MailboxFacts& mailbox) {
    const auto failure = record.failures.find(mailbox.id);
    return failure == record.failures.end() ? nullptr : &failure->second;
}

// What goes round rests now and then: that is no reason to begin again.
bool goes_round(const RecordFacts& record, int mailbox, const KnownFailure& failure) {
    return failure.code == loop_code &&
           std::any_of(record.copies.begin(), record.copies.end(), [&](const auto& copy) {
               return copy.first->id == mailbox && copy.second.item && copy.second.in_audience;
           });
}

class Decider {
  public:
    // in_flight: what goes on already; null for who only wants to know, and says with outlook
    // where.
    Decider(const LinkConfiguration& link, sync::WorkInFlight* in_flight, Outlook* outlook)
        : link_(link), in_flight_(in_flight), outlook_(outlook) {}

    LinkDecision decide(const Facts& facts);

  private:
    bool is_occupied(const std::string& key) const {
        return in_flight_ != nullptr && in_flight_->occupies(link_.id, key);
    }
    bool decide_copy(const std::string& key, const RecordFacts& record, const MailboxFacts& mailbox,
                     const CopyFacts& copy, std::vector<int>& begun);
    bool has_problem(const std::string& key, const RecordFacts& record, const MailboxFacts& mailbox,
                     const CopyFacts& copy, std::vector<int>& begun);
    std::optional<sync::Action> action_of(const std::string& key, const MailboxFacts& mailbox,
                                          const CopyFacts& copy, sync::Verdict verdict);
    void foresee_delete(const std::string& key, const RecordFacts& record,
                        const MailboxFacts& mailbox, const CopyFacts& copy);
    void foresee_removal(const std::string& key, const RecordFacts& record,
                         const MailboxFacts& mailbox, const CopyFacts& copy);

    const LinkConfiguration& link_;
    sync::WorkInFlight* in_flight_;
    Outlook* outlook_;
    LinkDecision decision_;
    bool waits_ = false;  // the record, for a mailbox to be read
};

LinkDecision Decider::decide(const Facts& facts) {
    Work& work = decision_.work;
    for (const auto& [key, record] : facts.records) {
        std::vector<int> begun;
        work.pairs += record.copies.size();
        std::vector<int> failing;
        waits_ = false;
        for (const auto& [mailbox, copy] : record.copies) {
            if (decide_copy(key, record, *mailbox, copy, begun)) {
                failing.push_back(mailbox->id);
            }
        }
        if (record.audience_unreadable && failing.empty()) {
            failing.push_back(ItemVerdicts::nowhere);
            const auto failure = record.failures.find(ItemVerdicts::nowhere);
            if (failure == record.failures.end() || !failure->second.holds_back) {
                decision_.verdicts.belongs_nowhere(key, record.code, record.problem);
            }
        }
        decision_.looked_at.push_back(key);
        if (waits_) {
            decision_.waiting.push_back(key);
            work.unmet = true;
        }
        for (const auto& [mailbox, failure] : record.failures) {
            if (std::find(failing.begin(), failing.end(), mailbox) == failing.end() &&
                !goes_round(record, mailbox, failure)) {
                decision_.verdicts.well(key, mailbox);
            }
        }
        if (!begun.empty() || is_occupied(key)) {
            work.begun.push_back({key, record.rows, std::move(begun)});
        } else {
            ++work.unchanged;
            decision_.settled.insert(decision_.settled.end(), record.rows.begin(),
                                     record.rows.end());
        }
    }
    return std::move(decision_);
}

// Returns true when something is to be done there, now or later: a failure of before stays noted.
bool Decider::decide_copy(const std::string& key, const RecordFacts& record,
                          const MailboxFacts& mailbox, const CopyFacts& copy,
                          std::vector<int>& begun) {
    if (!mailbox.takes_part || mailbox.moving) {
        return false;  // all is looked at again when it has moved
    }
    if (is_occupied(key) && (in_flight_->occupies(link_.id, key, mailbox.id) ||
                             in_flight_->has_ended(link_.id, key, record.rows, mailbox.id))) {
        return true;
    }
    if (has_problem(key, record, mailbox, copy, begun)) {
        return true;
    }
    sync::Wish wish;
    wish.exists = record.exists;
    wish.in_audience = copy.in_audience;
    wish.values = record.exists ? &record.desired->values : nullptr;
    sync::Decision decision = sync::decide(link_.rules, wish, copy.item ? &*copy.item : nullptr);
    if (record.fresh && copy.may_be_there && outlook_ == nullptr) {
        decision_.verdicts.come_in(key, mailbox.id);
    }
    const bool leaving = copy.item && copy.item->leaving;
    // A change of the CRM's is undone when its user changes the item, or by a comparison. Two
    // mailboxes that hold different values would otherwise never come to rest.
    if (decision.strays && (record.compared || !record.fresh)) {
        decision_.verdicts.read(key, mailbox.id);
    }
    if (decision.verdict == sync::Verdict::leave ||
        (decision.verdict == sync::Verdict::nothing && leaving)) {
        foresee_delete(key, record, mailbox, copy);
    }
    // One that cannot be reached is a failure like any other.
    const bool unread = !mailbox.met && mailbox.available;
    if (decision.verdict == sync::Verdict::create && (unread || copy.may_be_there) &&
        outlook_ == nullptr) {
        waits_ |= unread;
        return false;  // its user may have it: it is looked at again when that is known
    }
    const bool removed =
        decision.verdict == sync::Verdict::nothing && copy.item && copy.item->removed;
    if (removed) {
        foresee_removal(key, record, mailbox, copy);
    }
    const auto action = action_of(key, mailbox, copy, decision.verdict);
    if (!action) {
        return removed || (decision.verdict == sync::Verdict::nothing && leaving);
    }
    Work& work = decision_.work;
    const KnownFailure* failure = failure_in(record, mailbox);
    if (failure != nullptr && failure->holds_back && !failure->of_values) {
        if (outlook_ != nullptr) {
            work.outcomes.push_back(without_network(
                sync::Result::postponed, mailbox, key,
                {exchange::Disposition::item_failed, failure->code, failure->message}));
        }
        return true;
    }
    begun.push_back(mailbox.id);
    if (!mailbox.available) {
        work.outcomes.push_back(without_network(
            sync::Result::postponed, mailbox, key,
            {exchange::Disposition::mailbox_disabled, mailbox.code, mailbox.message}));
        return true;
    }
    sync::Task task{};
    task.action = *action;
    task.record = key;
    task.desired = record.desired;
    task.fields = std::move(decision.fields);
    task.before = std::move(decision.before);
    task.agreed = std::move(decision.agreed);
    task.fresh = record.fresh;
    if (copy.item) {
        task.item = copy.item->reference;
        if (*action == sync::Action::create) {
            task.shadow = copy.item->shadow;
        }
        task.doubtful = copy.item->doubtful;
        task.was_left = copy.item->unlinked;
        task.adopted = copy.item->origin != sync::Origin::crm;
        task.stamp =
            *action == sync::Action::update && (sync::needs_stamp(*copy.item) || task.doubtful);
        if (task.stamp && task.was_left) {
            decision_.verdicts.gain_stamp(key, mailbox.id);
        }
    }
    work.tasks.emplace_back(mailbox.id, std::move(task));
    return true;
}

// Whether the record cannot be sent, which is then a failure where it should be.
bool Decider::has_problem(const std::string& key, const RecordFacts& record,
                          const MailboxFacts& mailbox, const CopyFacts& copy,
                          std::vector<int>& begun) {
    if (record.problem.empty() || !(record.unreadable || (record.exists && copy.in_audience))) {
        return false;
    }
    const KnownFailure* failure = failure_in(record, mailbox);
    if (failure == nullptr || !failure->holds_back) {
        begun.push_back(mailbox.id);
        decision_.work.outcomes.push_back(
            without_network(sync::Result::failed, mailbox, key,
                            {exchange::Disposition::item_failed, record.code, record.problem}));
    }
    return true;
}

// What the engine has to do, if anything; what only our own tables have to know becomes a verdict.
std::optional<sync::Action> Decider::action_of(const std::string& key, const MailboxFacts& mailbox,
                                               const CopyFacts& copy, sync::Verdict verdict) {
    switch (verdict) {
        case sync::Verdict::nothing:
            return std::nullopt;
        case sync::Verdict::leave:
            decision_.verdicts.leave(key, mailbox.id);
            return std::nullopt;
        case sync::Verdict::stay:
            decision_.verdicts.stay(key, mailbox.id);
            if (link_.inbound) {
                // What its user has changed while it was to go came to nobody.
                decision_.verdicts.read(key, mailbox.id);
            }
            return std::nullopt;
        case sync::Verdict::forget:
            decision_.verdicts.forget(key, mailbox.id);
            return std::nullopt;
        case sync::Verdict::create:
            return sync::Action::create;
        case sync::Verdict::update:
            if (copy.item->leaving && !copy.item->renew) {
                decision_.verdicts.stay(key, mailbox.id);
            }
            return sync::Action::update;
        case sync::Verdict::unlink:
            decision_.verdicts.lose_stamp(key, mailbox.id);
            break;
    }
    return sync::Action::unlink;
}

void Decider::foresee_delete(const std::string& key, const RecordFacts& record,
                             const MailboxFacts& mailbox, const CopyFacts& copy) {
    if (outlook_ == nullptr) {
        return;
    }
    // A failure to write the item is forgotten when it is to go.
    const KnownFailure* failure = copy.item->leaving ? failure_in(record, mailbox) : nullptr;
    std::string waits_for;
    if (!mailbox.available) {
        waits_for = mailbox.code + ": " + mailbox.message;
    } else if (failure != nullptr && failure->holds_back) {
        waits_for = failure->code + ": " + failure->message;
    }
    const char* reason = !record.exists      ? "the record is gone"
                         : !copy.in_audience ? "the record has left the audience"
                                             : "it is made anew by resync";
    outlook_->leaving.push_back({key, mailbox.id, reason, copy.confirmed, std::move(waits_for)});
}

void Decider::foresee_removal(const std::string& key, const RecordFacts& record,
                              const MailboxFacts& mailbox, const CopyFacts& copy) {
    if (outlook_ == nullptr) {
        return;
    }
    const KnownFailure* failure = failure_in(record, mailbox);
    const bool waits = failure != nullptr && failure->holds_back;
    outlook_->leaving.push_back({key, mailbox.id, "its user has deleted the item", copy.confirmed,
                                 waits ? failure->code + ": " + failure->message : std::string(),
                                 true});
}

}  // namespace

std::set<RecordInMailbox> Work::begun_in() const {
    std::set<RecordInMailbox> pairs;
    for (const Begun& one : begun) {
        for (const int mailbox : one.mailboxes) {
            pairs.emplace(one.record, mailbox);
        }
    }
    return pairs;
}

void Work::begin_also(const std::map<std::string, std::vector<int>>& mailboxes_of) {
    for (const auto& [record, more] : mailboxes_of) {
        const auto same = std::find_if(begun.begin(), begun.end(),
                                       [&key = record](const Begun& b) { return b.record == key; });
        if (same != begun.end()) {
            same->mailboxes.insert(same->mailboxes.end(), more.begin(), more.end());
        } else {
            begun.push_back({record, {}, more});
        }
    }
}

LinkDecision decide_work(const LinkConfiguration& link, const Facts& facts,
                         sync::WorkInFlight& in_flight) {
    return Decider(link, &in_flight, nullptr).decide(facts);
}

Outlook decide_outlook(const LinkConfiguration& link, const Facts& facts) {
    Outlook outlook;
    outlook.work = Decider(link, nullptr, &outlook).decide(facts).work;
    for (const auto& [address, mailbox] : facts.mailboxes) {
        outlook.addresses.emplace(mailbox.id, address);
    }
    return outlook;
}

}  // namespace crmsync
