// The part of Conversation that takes what is answered for each item of a request, and does again
// what has to be done otherwise.
#include <algorithm>
#include <iterator>
#include <utility>

#include "sync/conversation.h"
#include "sync/item_as_read.h"
#include "sync/photo.h"
#include "sync/stamp.h"

namespace crmsync::sync {

using exchange::Answer;
using exchange::Disposition;
using exchange::Failure;
using exchange::Scope;

namespace {

bool concerns_one_item(Disposition disposition) {
    return disposition == Disposition::item_failed || disposition == Disposition::item_gone ||
           disposition == Disposition::reread || disposition == Disposition::bisect ||
           disposition == Disposition::resync;
}

// It says the same of an item as it does when it is the whole mailbox's: only if something else
// went well it is the item's.
bool may_be_of_one_item(const Failure& failure) {
    return (failure.disposition == Disposition::item_failed && failure.scope == Scope::request) ||
           failure.disposition == Disposition::mailbox_disabled;
}

}  // namespace

std::optional<Failure> Conversation::items_answer(const Answer& answer, Clock::time_point now) {
    // Where there is no room for a photo there may be some for the contacts.
    const bool attaching = std::holds_alternative<exchange::CreateAttachment>(operation_);
    Tasks sent = ::std::exchange(sent_, {});
    std::optional<Failure> common;
    Tasks in_doubt;
    std::vector<Failure> reasons;
    for (std::size_t i = 0; i < sent.size(); ++i) {
        const exchange::ItemAnswer& item = answer.items[i];
        if (item.failure && item.failure->may_have_happened) {
            doubt_sent();
        }
        if (!item.failure) {
            item_succeeded(std::move(sent[i]), item);
        } else if (may_be_of_one_item(*item.failure)) {
            in_doubt.push_back(std::move(sent[i]));
            reasons.push_back(*item.failure);
        } else if (concerns_one_item(item.failure->disposition) ||
                   (attaching && item.failure->disposition == Disposition::mailbox_full)) {
            item_failed(std::move(sent[i]), *item.failure);
        } else {
            // The item met what the whole mailbox may meet. Of what follows the server may only say
            // that it has not come to it.
            const auto pause = common ? common->retry_after : item.failure->retry_after;
            common = common ? common : item.failure;
            common->retry_after = std::max(pause, item.failure->retry_after);
            sent_.push_back(std::move(sent[i]));
        }
    }
    const bool others_went_well = sent_.size() + in_doubt.size() < sent.size();
    for (std::size_t i = 0; i < in_doubt.size(); ++i) {
        if (others_went_well) {
            item_failed(std::move(in_doubt[i]), reasons[i]);
        } else {
            common = common ? common : reasons[i];
            sent_.push_back(std::move(in_doubt[i]));
        }
    }
    if (others_went_well) {
        succeeded();
        widen_limit();
        if (!exchange::only_reads(operation_)) {
            denied_ = 0;  // what may be read need not be written
            ++writes_;
        }
        if (!sent_.empty() && ++sent_.front().attempts > most_attempts) {
            finish(std::move(sent_.front()), Result::failed, {}, *common);
            sent_.erase(sent_.begin());
        }
    }
    if (sent_.empty()) {
        return std::nullopt;
    }
    if (common->disposition == Disposition::mailbox_disabled && denied(*common)) {
        return std::nullopt;
    }
    auto trouble = request_failed(*common, now);
    if (trouble && others_went_well && !exchange::concerns_target(*trouble)) {
        return std::nullopt;
    }
    return trouble;
}

// Of all that was sent. Whose matter it is nobody knows before something else was asked for, and
// what else there is was to be written. False: it is the mailbox's.
bool Conversation::denied(const Failure& failure) {
    const auto all_sent = [&](const auto& are) {
        return std::all_of(sent_.begin(), sent_.end(), are);
    };
    const bool others_were_written =
        all_sent([&](const Task& task) { return task.denied && *task.denied < writes_; });
    if (!others_were_written && ++denied_ > most_denied) {
        return false;
    }
    if (!all_sent([](const Task& task) { return task.denied.has_value(); })) {
        in_doubt_ = true;
        put_off_sent();
        return true;
    }
    if (!others_were_written && sent_.size() > most_given_up) {
        return false;
    }
    for (Task& task : ::std::exchange(sent_, {})) {
        item_failed(std::move(task), failure);
    }
    return true;
}

void Conversation::put_off_sent() {
    for (Task& task : ::std::exchange(sent_, {})) {
        if (!task.denied) {
            task.denied = writes_;
        }
        const bool is_to_be_written =
            task.action != Action::fetch && std::holds_alternative<exchange::GetItems>(operation_);
        TaskQueue& origin = origin_of(task);
        TaskQueue& queue = &origin == &rereads_ && !is_to_be_written ? rereads_ : put_off_;
        queue.push_back(std::move(task));
    }
}

// It bore our stamp, and nobody knew of it, when it was met. What a user has made of a copy is his,
// and what has no such stamp any more: we may have taken it away without hearing of that.
void Conversation::stranger_read(Task&& task, const exchange::ItemAnswer& answer) {
    task.item = answer.item;
    task.unknown = false;
    const bool stamped = key_of_stamp(answer.stamp, mailbox_.stamp_prefix) == task.record;
    if (!stamped || exchange::is_altered_copy(answer, mailbox_.most_create_delay)) {
        task.action = Action::unlink;
        task.copy = true;
    }
    if (!stamped) {
        finish(std::move(task), Result::unlinked, answer.item);
        return;
    }
    TaskQueue& queue = queue_of(task.action);
    queue.push_front(std::move(task));
}

// Somebody has changed it since we last knew it, or we never did: what that means for what we are
// about to write.
void Conversation::item_read(Task&& task, const exchange::ItemAnswer& answer) {
    if (task.action == Action::remove) {
        stranger_read(std::move(task), answer);
        return;
    }
    const bool has_same_key =
        !answer.item.change_key.empty() && answer.item.change_key == task.item.change_key;
    // What was read only for its photo, before it is written, is as it was agreed on.
    const bool is_as_known = has_same_key && knows_before(task) && !fills_unseen_gap(task);
    const bool is_known = photo_of(task) != nullptr && is_as_known;
    // Nothing has to come in that has not come in when this was decided, or that both have agreed
    // on.
    const bool is_nothing_new =
        task.action == Action::update &&
        (is_as_known || (knows_before(task) && is_ours_alone(task, answer)));
    task.item = answer.item;
    if (task.action == Action::fetch || (task.action == Action::update && mailbox_.inbound &&
                                         !is_nothing_new && task.undo != UndoStep::create)) {
        const bool asked = task.action == Action::fetch;
        if (!asked && !task.rules) {
            task.rules = task.desired->rules;
        }
        finish(std::move(task), asked ? Result::fetched : Result::overtaken, answer.item);
        outcomes_.back().held = answer;
        return;
    }
    if (task.action == Action::update && !is_known) {
        if (!task.fields.empty()) {
            merge_with(task, answer);
        } else {
            task.differs = !is_ours_alone(task, answer);  // only the stamp is to be written
        }
        if (task.fields.empty() && !task.stamp) {
            finish(std::move(task), Result::written, answer.item);
            return;
        }
        task.photo.rest_written = false;
    }
    note_photo(task, answer);
    proceed(std::move(task));
}

// Writes what is left of it.
void Conversation::proceed(Task&& task) {
    const bool done = task.photo.rest_written || (!has_rest(task) && photo_of(task) != nullptr);
    if (!done) {
        TaskQueue& queue = queue_of(task.action);
        queue.push_front(std::move(task));
    } else if (photo_of(task) == nullptr || task.photo.settled) {
        exchange::ItemReference item = std::move(task.item);
        finish(std::move(task), Result::written, std::move(item));
    } else if (photo_of(task)->value && !task.photo.content) {
        waiting_.push_back(std::move(task));
        ask_for_content();
    } else {
        photos_.push_front(std::move(task));
    }
}

void Conversation::item_succeeded(Task&& task, const exchange::ItemAnswer& answer) {
    if (std::holds_alternative<exchange::GetItems>(operation_)) {
        item_found(std::move(task), answer);
        return;
    }
    if (is_of_photo(operation_)) {
        photo_written(std::move(task), answer);
        return;
    }
    exchange::ItemReference item = answer.item;
    // Some servers answer an update with the change key only.
    if (item.id.empty()) {
        item.id = task.item.id;
    }
    switch (task.action) {
        case Action::create:
        case Action::update:
            task.item = std::move(item);
            task.photo.rest_written = true;
            proceed(std::move(task));
            break;
        case Action::remove:
            item = task.item;
            stamps_.forget({item.id});
            finish(std::move(task), Result::removed, std::move(item));
            break;
        case Action::unlink:
            item = task.item;
            stamps_.forget({item.id});
            finish(std::move(task), Result::unlinked, std::move(item));
            break;
        case Action::fetch:
            break;
    }
}

void Conversation::item_failed(Task&& task, const Failure& failure) {
    if (is_of_photo(operation_)) {
        photo_failed(std::move(task), failure);
    } else if (failure.disposition == Disposition::item_gone) {
        gone(std::move(task));
    } else if (task.unknown && failure.damaged) {
        task.unknown = false;
        removes_.push_front(std::move(task));
    } else if (failure.disposition == Disposition::reread && task.action != Action::create &&
               ++task.attempts <= most_attempts) {
        rereads_.push_back(std::move(task));
    } else {
        finish(std::move(task), Result::failed, {}, failure);
    }
}

void Conversation::gone(Task&& task) {
    exchange::ItemReference item = task.item;
    if (task.action == Action::fetch) {
        if (!task.record.empty()) {
            stamps_.doubt();  // it may be back already, under another id
        }
        finish(std::move(task), Result::removed, std::move(item));
        return;
    }
    // It may only have moved, and then bears another id: look for stamps before the next create.
    stamps_.doubt();
    switch (task.action) {
        case Action::remove:
        case Action::unlink:
            if (may_be_astray(task)) {
                task.sought = true;
                task.fresh = false;  // the folder has to be listed: all else goes before that
                astray_.push_back(std::move(task));
            } else {  // there is nothing that could be its user's
                finish(std::move(task), Result::removed, std::move(item));
            }
            return;
        case Action::create:
            if (task.item.id.empty()) {  // the folder went while we wrote into it
                forget_folder();
            }
            recreate(std::move(task));
            return;
        case Action::update:
        case Action::fetch:
            break;
    }
    if (task.undo != UndoStep::none) {
        finish(std::move(task), Result::failed, {},
               {.disposition = Disposition::item_failed,
                .code = "GONE",
                .message = "the item is not there any more"});
    } else if (!task.desired->rules->outbound) {
        const Result result = task.doubtful ? Result::removed : Result::vanished;
        finish(std::move(task), result, {});
    } else {
        task.sought |= !task.doubtful && !comes_again(task);
        if (knows_before(task)) {
            task.shadow = shadow_of(task);
        }
        recreate(std::move(task));
    }
}

// Reading would name it. What was met in the list is not looked for there again, whatever the
// server says is not there.
bool Conversation::may_be_astray(const Task& task) const {
    return !task.sought && !task.surplus && !task.copy && task.undo == UndoStep::none &&
           !mailbox_.inbound && !mailbox_.folder_id.empty();
}

// What was left to its user was his to delete. Of ours that comes again which the CRM has changed:
// nothing does only for our stamp.
bool Conversation::comes_again(const Task& task) const {
    const OnTargetDelete policy = mailbox_.policy.on_target_delete;
    return task.was_left || policy == OnTargetDelete::recreate ||
           (policy != OnTargetDelete::unlink && !task.fields.empty());
}

void Conversation::recreate(Task&& task) {
    if (++task.attempts > most_attempts) {
        finish(std::move(task), Result::failed, {},
               {.disposition = Disposition::item_failed,
                .code = "ErrorItemNotFound",
                .message = "the item disappears again whenever it is created"});
        return;
    }
    task.action = Action::create;
    task.was_there = false;
    task.adopted = false;
    task.differs = false;
    task.photo = {};
    task.item = {};
    task.fields = task.desired->all;
    task.before.clear();
    task.agreed.reset();
    creates_.push_back(std::move(task));
}

}  // namespace crmsync::sync
