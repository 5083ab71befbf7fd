#include "sync/conversation.h"

#include <random>
#include <utility>

#include "net/back_off.h"
#include "sync/stamp.h"

namespace crmsync::sync {

using exchange::Answer;
using exchange::Disposition;
using exchange::Failure;
using exchange::Operation;

namespace {

// Longer pauses than this hand the tasks back, to be looked at anew when the mailbox is well again.
constexpr std::chrono::seconds longest_wait_in_memory{30};
constexpr int most_rereads = 3;

double random_number() {
    static std::minstd_rand generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(generator);
}

bool concerns_one_item(Disposition disposition) {
    return disposition == Disposition::item_failed || disposition == Disposition::item_gone ||
           disposition == Disposition::reread || disposition == Disposition::bisect ||
           disposition == Disposition::resync;
}

Failure unasked_answer() {
    return {Disposition::back_off, "ANSWER", "the server did not answer for every item"};
}

}  // namespace

void Conversation::redescribe(MailboxDescription description) {
    if (description.folder_name != mailbox_.folder_name) {
        listed_ = false;
        description.folder_id.clear();
    } else {
        description.folder_id = mailbox_.folder_id;
    }
    mailbox_ = std::move(description);
    troubled_ |= mailbox_.troubled;
}

std::deque<Task>& Conversation::queue_of(Action action) {
    switch (action) {
        case Action::create:
            return creates_;
        case Action::update:
            return updates_;
        case Action::unlink:
            return unlinks_;
        case Action::remove:
            break;
    }
    return removes_;
}

void Conversation::add(Task task) {
    auto& queue = queue_of(task.action);
    if (task.fresh) {
        queue.push_front(std::move(task));
    } else {
        queue.push_back(std::move(task));
    }
}

std::size_t Conversation::queued() const {
    return creates_.size() + updates_.size() + rereads_.size() + unlinks_.size() + removes_.size();
}

bool Conversation::has_work() const {
    return queued() > 0;
}

Operation Conversation::next(std::size_t limit) {
    if (own_limit_ > 0) {
        limit = std::min(limit, own_limit_);
    }
    sent_.clear();
    if (!creates_.empty() && mailbox_.folder_id.empty()) {
        operation_ = find_folder();
    } else if (!creates_.empty() && !listed_) {
        operation_ = list_stamps();
    } else if (!creates_.empty()) {
        operation_ = create_items(limit);
    } else if (!rereads_.empty()) {
        operation_ = reread_items(limit);
    } else if (!updates_.empty()) {
        operation_ = update_items(limit);
    } else if (!unlinks_.empty()) {
        operation_ = unlink_items(limit);
    } else {
        operation_ = remove_items(limit);
    }
    return operation_;
}

Operation Conversation::find_folder() {
    if (folder_missing_) {
        return exchange::CreateFolder{mailbox_.object, mailbox_.folder_name};
    }
    return exchange::FindFolder{mailbox_.object, mailbox_.folder_name};
}

Operation Conversation::list_stamps() {
    return exchange::ListStamps{mailbox_.folder_id, list_offset_};
}

Conversation::Tasks Conversation::take(std::deque<Task>& queue, std::size_t limit) {
    Tasks tasks;
    while (!queue.empty() && tasks.size() < limit) {
        tasks.push_back(std::move(queue.front()));
        queue.pop_front();
    }
    return tasks;
}

Operation Conversation::create_items(std::size_t limit) {
    sent_ = take(creates_, limit);
    exchange::CreateItems create{mailbox_.object, mailbox_.folder_id, {}};
    create.items.reserve(sent_.size());
    for (const Task& task : sent_) {
        create.items.push_back({task.desired->stamp, task.desired->all});
    }
    return create;
}

Operation Conversation::update_items(std::size_t limit) {
    sent_ = take(updates_, limit);
    exchange::UpdateItems update{mailbox_.object, {}};
    update.items.reserve(sent_.size());
    for (const Task& task : sent_) {
        update.items.push_back({task.item, task.fields});
    }
    return update;
}

Operation Conversation::reread_items(std::size_t limit) {
    sent_ = take(rereads_, limit);
    // Only the change key is wanted: what we write is what the CRM changed, whatever else the user
    // changed meanwhile stays.
    exchange::GetItems get{mailbox_.object, {}, {}};
    for (const Task& task : sent_) {
        get.ids.push_back(task.item.id);
    }
    return get;
}

Operation Conversation::unlink_items(std::size_t limit) {
    sent_ = take(unlinks_, limit);
    exchange::RemoveStamps remove;
    for (const Task& task : sent_) {
        remove.items.push_back(task.item);
    }
    return remove;
}

Operation Conversation::remove_items(std::size_t limit) {
    sent_ = take(removes_, limit);
    exchange::DeleteItems remove{{}, mailbox_.hard_delete};
    for (const Task& task : sent_) {
        remove.items.push_back(task.item);
    }
    return remove;
}

std::optional<TargetFailure> Conversation::answer(Answer answer, Clock::time_point now) {
    if (answer.failure) {
        return request_failed(*answer.failure, now);
    }
    succeeded();
    if (std::holds_alternative<exchange::FindFolder>(operation_) ||
        std::holds_alternative<exchange::CreateFolder>(operation_)) {
        folder_answer(answer);
    } else if (std::holds_alternative<exchange::ListStamps>(operation_)) {
        list_answer(answer);
    } else if (answer.items.size() != sent_.size()) {
        listed_ = false;
        back_off(unasked_answer(), now);
    } else {
        return items_answer(answer, now);
    }
    return std::nullopt;
}

void Conversation::succeeded() {
    if (troubled_) {
        troubled_ = false;
        changes_.push_back({mailbox_.id, mailbox_.folder_id, std::nullopt, 0, std::nullopt});
    }
    attempts_ = 0;
    if (own_limit_ > 0 && !sent_.empty()) {
        // The batch that was refused is through once the sizes have grown back.
        own_limit_ = own_limit_ >= 64 ? 0 : own_limit_ * 2;
    }
}

void Conversation::folder_answer(const Answer& answer) {
    if (answer.folder_id.empty()) {
        folder_missing_ = true;
        return;
    }
    folder_missing_ = false;
    mailbox_.folder_id = answer.folder_id;
    listed_ = false;
    list_offset_ = 0;
    changes_.push_back({mailbox_.id, answer.folder_id, std::nullopt, 0, std::nullopt});
}

void Conversation::list_answer(const Answer& answer) {
    for (const exchange::ItemAnswer& item : answer.items) {
        if (!item.failure && item.stamp.starts_with(mailbox_.stamp_prefix)) {
            found_.try_emplace(item.stamp, item.item);
        }
    }
    if (!answer.complete && answer.next_offset > list_offset_) {
        list_offset_ = answer.next_offset;
        return;
    }
    list_offset_ = 0;
    listed_ = true;
    convert_found();
}

void Conversation::convert_found() {
    // What was to be created but is there already is brought up to date instead.
    std::deque<Task> still_missing;
    for (Task& task : creates_) {
        const auto there = found_.find(task.desired->stamp);
        if (there == found_.end()) {
            still_missing.push_back(std::move(task));
            continue;
        }
        task.action = Action::update;
        task.item = there->second;
        task.fields = task.desired->all;
        found_.erase(there);
        updates_.push_back(std::move(task));
    }
    creates_ = std::move(still_missing);
    for (auto& [stamp, item] : found_) {
        outcomes_.push_back(
            {mailbox_.id,
             Result::found,
             Action::create,
             decode_stamp_part(stamp.substr(mailbox_.stamp_prefix.size())).value_or(std::string()),
             nullptr,
             item,
             {},
             {}});
    }
    found_.clear();
}

std::optional<TargetFailure> Conversation::items_answer(const Answer& answer,
                                                        Clock::time_point now) {
    Tasks again;
    std::optional<Failure> common;
    for (std::size_t i = 0; i < sent_.size(); ++i) {
        Task& task = sent_[i];
        const exchange::ItemAnswer& item = answer.items[i];
        if (!item.failure) {
            item_succeeded(std::move(task), item.item);
        } else if (concerns_one_item(item.failure->disposition)) {
            item_failed(std::move(task), *item.failure);
        } else {
            // The item met what the whole mailbox will meet.
            common = item.failure;
            again.push_back(std::move(task));
        }
    }
    sent_ = std::move(again);
    if (common) {
        return request_failed(*common, now);
    }
    return std::nullopt;
}

void Conversation::item_succeeded(Task task, exchange::ItemReference item) {
    // Some servers answer an update with the change key only.
    if (item.id.empty()) {
        item.id = task.item.id;
    }
    if (std::holds_alternative<exchange::GetItems>(operation_)) {
        task.item = std::move(item);
        queue_front(std::move(task));
        return;
    }
    switch (task.action) {
        case Action::create:
        case Action::update:
            finish(std::move(task), Result::written, std::move(item));
            break;
        case Action::remove:
            finish(std::move(task), Result::removed, {});
            break;
        case Action::unlink:
            finish(std::move(task), Result::unlinked, {});
            break;
    }
}

void Conversation::item_failed(Task task, const Failure& failure) {
    if (failure.disposition == Disposition::item_gone) {
        gone(std::move(task));
    } else if (failure.disposition == Disposition::reread && ++task.attempts <= most_rereads) {
        rereads_.push_back(std::move(task));
    } else {
        finish(std::move(task), Result::failed, {}, failure);
    }
}

void Conversation::gone(Task task) {
    switch (task.action) {
        case Action::remove:
            finish(std::move(task), Result::removed, {});
            return;
        case Action::unlink:
            finish(std::move(task), Result::unlinked, {});
            return;
        case Action::create:
            // The folder went while we wrote into it.
            mailbox_.folder_id.clear();
            recreate(std::move(task));
            return;
        case Action::update:
            break;
    }
    if (mailbox_.policy.on_target_delete == OnTargetDelete::unlink) {
        finish(std::move(task), Result::vanished, {});
    } else {
        recreate(std::move(task));
    }
}

void Conversation::recreate(Task task) {
    if (++task.attempts > most_rereads) {
        finish(std::move(task), Result::failed, {},
               {Disposition::item_failed, "ErrorItemNotFound",
                "the item disappears again whenever it is created"});
        return;
    }
    // It may only have moved within reach and have a new id: look for its stamp first.
    listed_ = false;
    task.action = Action::create;
    task.item = {};
    creates_.push_back(std::move(task));
}

std::optional<TargetFailure> Conversation::request_failed(const Failure& failure,
                                                          Clock::time_point now) {
    const bool creating = std::holds_alternative<exchange::CreateItems>(operation_);
    if (creating && failure.may_have_happened) {
        listed_ = false;
    }
    switch (failure.disposition) {
        case Disposition::credentials:
        case Disposition::target_broken:
            requeue_sent();
            return TargetFailure{failure};
        case Disposition::mailbox_disabled:
            suspend(failure, std::nullopt);
            return std::nullopt;
        case Disposition::folder_gone:
            requeue_sent();
            mailbox_.folder_id.clear();
            folder_missing_ = false;
            listed_ = false;
            changes_.push_back({mailbox_.id, {}, std::nullopt, 0, std::nullopt});
            if (++attempts_ > most_rereads) {
                back_off(failure, now);
            }
            return std::nullopt;
        case Disposition::bisect:
        case Disposition::item_failed:
        case Disposition::item_gone:
        case Disposition::reread:
            bisect(failure);
            return std::nullopt;
        case Disposition::resync:
            requeue_sent();
            listed_ = false;
            back_off(failure, now);
            return std::nullopt;
        case Disposition::shrink_batch:
            shrink_ = true;
            back_off(failure, now);
            return std::nullopt;
        case Disposition::retry_later:
        case Disposition::back_off:
            if (failure.code.starts_with("HTTP-") || failure.code.starts_with("NET-")) {
                requeue_sent();
                return TargetFailure{failure};
            }
            back_off(failure, now);
            return std::nullopt;
    }
    return std::nullopt;
}

void Conversation::back_off(const Failure& failure, Clock::time_point now) {
    requeue_sent();
    ++attempts_;
    std::optional<std::chrono::milliseconds> asked;
    if (failure.retry_after.count() > 0) {
        asked = failure.retry_after;
    }
    const auto pause = net::pause_after(attempts_, {}, random_number(), asked);
    if (pause > longest_wait_in_memory) {
        suspend(failure, pause);
    } else {
        not_before_ = now + pause;
    }
}

void Conversation::suspend(const Failure& failure,
                           std::optional<std::chrono::milliseconds> retry_after) {
    requeue_sent();
    troubled_ = true;
    changes_.push_back({mailbox_.id, mailbox_.folder_id, failure, attempts_, retry_after});
    drop(Result::postponed, failure);
}

void Conversation::bisect(const Failure& failure) {
    if (sent_.size() == 1) {
        Task task = std::move(sent_.front());
        sent_.clear();
        finish(std::move(task), Result::failed, {}, failure);
        return;
    }
    if (sent_.empty()) {
        // Not about items: the folder cannot be found or listed.
        suspend(failure, std::chrono::minutes(5));
        return;
    }
    own_limit_ = std::max<std::size_t>(1, sent_.size() / 2);
    requeue_sent();
}

void Conversation::requeue_sent() {
    for (auto task = sent_.rbegin(); task != sent_.rend(); ++task) {
        queue_front(std::move(*task));
    }
    sent_.clear();
}

void Conversation::queue_front(Task task) {
    queue_of(task.action).push_front(std::move(task));
}

void Conversation::finish(Task task, Result result, exchange::ItemReference item, Failure failure) {
    outcomes_.push_back({mailbox_.id, result, task.action, std::move(task.record),
                         std::move(task.desired), std::move(item), std::move(task.fields),
                         std::move(task.before), std::move(failure)});
}

void Conversation::drop(Result result, const Failure& failure) {
    for (auto* queue : {&creates_, &updates_, &rereads_, &unlinks_, &removes_}) {
        for (Task& task : *queue) {
            finish(std::move(task), result, {}, failure);
        }
        queue->clear();
    }
    found_.clear();
    list_offset_ = 0;
}

}  // namespace crmsync::sync
