// The half of Conversation that takes requests that failed as a whole: who is to blame, and how
// long to wait.
#include <algorithm>
#include <utility>

#include "net/back_off.h"
#include "sync/conversation.h"
#include "sync/jitter.h"

namespace crmsync::sync {

using exchange::Disposition;
using exchange::Failure;
using exchange::Scope;

namespace {

// Longer pauses than this hand the tasks back, to be looked at anew when the mailbox is well again.
constexpr std::chrono::seconds longest_wait_in_memory{30};

// Until a user has made room in a full mailbox, or somebody has mended what keeps us out of it;
// Exchange Online also says in passing that nobody may enter a mailbox, or that there is none.
constexpr net::BackOff mailbox_pauses{std::chrono::minutes(15), std::chrono::hours(4),
                                      std::chrono::hours(4)};

// The server has no time for whatever was asked.
bool wants_a_pause(Disposition disposition) {
    return disposition == Disposition::retry_later || disposition == Disposition::back_off ||
           disposition == Disposition::shrink_batch;
}

}  // namespace

std::optional<Failure> Conversation::request_failed(const Failure& failure, Clock::time_point now) {
    if (failure.may_have_happened) {
        doubt_sent();
    }
    const bool searching = std::holds_alternative<exchange::SearchDeleted>(operation_);
    if (searching) {
        moved_ = false;  // what cannot be told holds up nothing
    }
    if (exchange::concerns_target(failure)) {
        requeue_sent();
        return failure;
    }
    if (searching && !wants_a_pause(failure.disposition)) {
        return std::nullopt;  // nor does it say anything of the folder that was looked for
    }
    switch (failure.disposition) {
        case Disposition::mailbox_disabled:
        case Disposition::mailbox_full:
            suspend(failure, net::pause_after(++attempts(), mailbox_pauses, jitter()), now);
            return std::nullopt;
        case Disposition::folder_gone:
            folder_gone(failure, now);
            return std::nullopt;
        case Disposition::bisect:
        case Disposition::item_failed:
        case Disposition::item_gone:
        case Disposition::reread:
            return bisect(failure, now);
        case Disposition::resync:
            stamps_.doubt();
            if (const auto* list = std::get_if<exchange::ListChanges>(&operation_);
                list != nullptr && !list->state.empty()) {
                state_refused(failure, now);
                return std::nullopt;
            }
            break;
        case Disposition::credentials:
        case Disposition::target_broken:
        case Disposition::retry_later:
        case Disposition::back_off:
        case Disposition::shrink_batch:
            break;
    }
    divide(failure);
    back_off(failure, now);
    return failure;
}

// What was in a request may be the reason for its failure: the next ones are smaller, and an item
// that fails alone while the mailbox works is given up.
void Conversation::divide(const Failure& failure) {
    const bool too_much = failure.disposition == Disposition::shrink_batch;
    if (!too_much && failure.scope != Scope::request) {
        return;
    }
    if (sent_.size() > 1) {
        // The first time others should be asked for less too; then it is this mailbox's matter.
        shrink_ |= too_much && own_limit_ == 0;
        cautious_ |= too_much;
        own_limit_ = sent_.size() / 2;
    } else if (sent_.size() == 1) {
        own_limit_ = 1;
        Task task = std::move(sent_.front());
        sent_.clear();
        if (answered_since_failure_ && ++task.attempts > most_attempts) {
            finish(std::move(task), Result::failed, {}, failure);
        } else {
            TaskQueue& queue = origin_of(task);
            queue.push_back(std::move(task));
        }
    }
    answered_since_failure_ = false;
}

std::optional<Failure> Conversation::bisect(const Failure& failure, Clock::time_point now) {
    const bool may_be_of_all = failure.scope == Scope::request;
    const bool is_well = ::std::exchange(answered_since_failure_, false);
    if (sent_.size() > 1) {
        own_limit_ = sent_.size() / 2;
        requeue_sent();
        return std::nullopt;
    }
    if (sent_.size() == 1 && (is_well || !may_be_of_all)) {
        if (is_well) {
            attempts() = 0;  // it was the item, and there may be more of its kind
        }
        Task task = std::move(sent_.front());
        sent_.clear();
        item_failed(std::move(task), failure);
        return std::nullopt;
    }
    if (!sent_.empty()) {
        // Nobody knows yet: something else is asked for first.
        in_doubt_ = true;
        own_limit_ = 1;
        back_off(failure, now);
        return std::nullopt;
    }
    // Not about items: the folder cannot be found or listed.
    back_off(failure, now);
    return may_be_of_all ? std::optional(failure) : std::nullopt;
}

// It is forgotten before anything else is asked: where the pause outlasts this conversation, or the
// worker, whoever asks next begins anew.
void Conversation::state_refused(const Failure& failure, Clock::time_point now) {
    if (listing_) {
        listing_.reset();
        pages_.push_back({.mailbox = mailbox_.id, .complete = false});
    }
    back_off(failure, now);
}

void Conversation::folder_gone(const Failure& failure, Clock::time_point now) {
    requeue_sent();
    forget_folder();
    if (attempts() >= most_attempts) {
        back_off(failure, now);
    } else {
        ++attempts();
    }
}

// deleted: it is still there, among what its user has deleted, and so are its items.
void Conversation::forget_folder(const std::string& deleted) {
    if (!deleted.empty()) {
        mailbox_.deleted_folder = deleted;
    }
    folder_missing_ = false;
    moved_ = false;
    stamps_.doubt();
    list_from_start();
    restart_inventory();
    troubled_ = false;  // whoever takes the change takes it so
    changes_.push_back(
        {.mailbox = mailbox_.id, .folder_id = {}, .deleted_folder = deleted, .failure = {}});
    mailbox_.folder_id.clear();
}

void Conversation::back_off(const Failure& failure, Clock::time_point now) {
    requeue_sent();
    std::optional<std::chrono::milliseconds> asked;
    if (failure.retry_after.count() > 0) {
        asked = failure.retry_after;
    }
    const auto pause = net::pause_after(++attempts(), {}, jitter(), asked);
    if (pause > longest_wait_in_memory) {
        suspend(failure, pause, now);
    } else {
        not_before_ = now + pause;
    }
}

void Conversation::suspend(const Failure& failure, std::chrono::milliseconds retry_after,
                           Clock::time_point now) {
    requeue_sent();
    troubled_ = true;
    denied_ = 0;  // so that those that are given up do not keep the others waiting for ever
    not_before_ = now + retry_after;
    if (std::holds_alternative<exchange::ListStamps>(operation_) && !asked_inventory_) {
        give_up_astray();  // nothing else is to wait for a list that cannot be had
    }
    const bool disabled = failure.disposition == Disposition::mailbox_disabled ||
                          failure.disposition == Disposition::mailbox_full;
    changes_.push_back(
        {mailbox_.id, mailbox_.folder_id, {}, failure, attempts(), retry_after, disabled});
    drop(Result::postponed, failure);
}

}  // namespace crmsync::sync
