#include "sync/conversation.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "net/back_off.h"
#include "sync/jitter.h"
#include "sync/stamp.h"

namespace crmsync::sync {

using exchange::Answer;
using exchange::Disposition;
using exchange::Failure;
using exchange::Operation;
using exchange::Scope;

namespace {

// Longer pauses than this hand the tasks back, to be looked at anew when the mailbox is well again.
constexpr std::chrono::seconds longest_wait_in_memory{30};

// How often one item may be in the way before it is given up.
constexpr int most_attempts = 3;

// From this size on a batch is no longer the rest of one that was divided.
constexpr std::size_t undivided = 64;

bool concerns_one_item(Disposition disposition) {
    return disposition == Disposition::item_failed || disposition == Disposition::item_gone ||
           disposition == Disposition::reread || disposition == Disposition::bisect ||
           disposition == Disposition::resync;
}

// The answer is of no use; the request may have been carried out.
Failure useless_answer(const char* code, const char* words) {
    return {.disposition = Disposition::back_off,
            .code = code,
            .message = words,
            .may_have_happened = true,
            .scope = Scope::request};
}

}  // namespace

void Conversation::redescribe(MailboxDescription description) {
    const bool same_folder = description.target == mailbox_.target &&
                             description.account.mailbox == mailbox_.account.mailbox &&
                             description.object == mailbox_.object &&
                             description.folder_name == mailbox_.folder_name;
    if (troubled_ && !description.troubled) {
        // Somebody said that it works again.
        troubled_ = false;
        attempts_ = 0;
        not_before_ = {};
    }
    troubled_ |= description.troubled;
    if (same_folder) {
        description.folder_id = mailbox_.folder_id;
    }
    mailbox_ = std::move(description);
    if (!same_folder) {
        mailbox_.folder_id.clear();
        folder_missing_ = false;
        elsewhere_ = true;
        stamps_.doubt();
    }
}

// ---- what is queued -------------------------------------------------------------------------

TaskQueue& Conversation::queue_of(Action action) {
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

TaskQueue& Conversation::origin_of(const Task& sent) {
    return std::holds_alternative<exchange::GetItems>(operation_)     ? rereads_
           : std::holds_alternative<exchange::FindStamps>(operation_) ? lookups_
                                                                      : queue_of(sent.action);
}

void Conversation::add(Task task) {
    if (task.action == Action::update && task.fields.empty()) {
        exchange::ItemReference item = task.item;
        finish(std::move(task), Result::written, std::move(item));
        return;
    }
    queue_of(task.action).push_back(std::move(task));
}

std::size_t Conversation::queued() const {
    return lookups_.size() + creates_.size() + updates_.size() + rereads_.size() + unlinks_.size() +
           removes_.size();
}

bool Conversation::has_fresh_work() const {
    return lookups_.has_fresh() || creates_.has_fresh() || updates_.has_fresh() ||
           rereads_.has_fresh() || unlinks_.has_fresh() || removes_.has_fresh();
}

// ---- the next request -----------------------------------------------------------------------

Operation Conversation::next(std::size_t limit) {
    if (own_limit_ > 0) {
        limit = std::min(limit, own_limit_);
    }
    limit = std::max<std::size_t>(limit, 1);
    elsewhere_ = false;
    const bool fresh = has_fresh_work();
    const auto due = [&](const TaskQueue& queue) {
        return fresh ? queue.has_fresh() : !queue.empty();
    };
    if (due(lookups_) || due(creates_)) {
        operation_ = create_or_prepare(limit);
    } else if (due(rereads_)) {
        operation_ = reread_items(limit);
    } else if (due(updates_)) {
        operation_ = update_items(limit);
    } else if (due(unlinks_)) {
        operation_ = unlink_items(limit);
    } else {
        operation_ = remove_items(limit);
    }
    return operation_;
}

Operation Conversation::create_or_prepare(std::size_t limit) {
    if (mailbox_.folder_id.empty()) {
        return find_folder();
    }
    if (!stamps_.complete()) {
        return stamps_.next_page(mailbox_.folder_id);
    }
    return lookups_.empty() ? create_items(limit) : look_up();
}

Operation Conversation::find_folder() {
    if (folder_missing_) {
        return exchange::CreateFolder{mailbox_.object, mailbox_.folder_name};
    }
    return exchange::FindFolder{mailbox_.object, mailbox_.folder_name};
}

Operation Conversation::look_up() {
    // One at a time: two that begin alike could not be told apart in one answer.
    sent_ = lookups_.take(1);
    return exchange::FindStamps{mailbox_.folder_id, {sent_.front().desired->stamp}};
}

Operation Conversation::create_items(std::size_t limit) {
    sent_ = creates_.take(limit);
    exchange::CreateItems create{mailbox_.object, mailbox_.folder_id, {}};
    create.items.reserve(sent_.size());
    for (const Task& task : sent_) {
        create.items.push_back({task.desired->stamp, task.desired->all});
    }
    return create;
}

Operation Conversation::update_items(std::size_t limit) {
    sent_ = updates_.take(limit);
    exchange::UpdateItems update{mailbox_.object, {}};
    update.items.reserve(sent_.size());
    for (const Task& task : sent_) {
        update.items.push_back({task.item, task.fields});
    }
    return update;
}

Operation Conversation::reread_items(std::size_t limit) {
    sent_ = rereads_.take(limit);
    // Only the change key is wanted: what we write is what the CRM changed, whatever else the user
    // changed meanwhile stays.
    exchange::GetItems get{mailbox_.object, {}, {}};
    for (const Task& task : sent_) {
        get.ids.push_back(task.item.id);
    }
    return get;
}

Operation Conversation::unlink_items(std::size_t limit) {
    sent_ = unlinks_.take(limit);
    exchange::RemoveStamps remove;
    for (const Task& task : sent_) {
        remove.items.push_back(task.item);
    }
    return remove;
}

Operation Conversation::remove_items(std::size_t limit) {
    sent_ = removes_.take(limit);
    exchange::DeleteItems remove{{}, mailbox_.hard_delete};
    for (const Task& task : sent_) {
        remove.items.push_back(task.item);
    }
    return remove;
}

// ---- answers that are well ------------------------------------------------------------------

std::optional<Failure> Conversation::answer(Answer answer, Clock::time_point now) {
    if (answer.failure) {
        return request_failed(*answer.failure, now);
    }
    const bool prepares = sent_.empty() || std::holds_alternative<exchange::FindStamps>(operation_);
    if (elsewhere_ && prepares) {
        requeue_sent();
        return std::nullopt;
    }
    if (std::holds_alternative<exchange::FindFolder>(operation_) ||
        std::holds_alternative<exchange::CreateFolder>(operation_)) {
        return folder_answer(answer, now);
    }
    if (std::holds_alternative<exchange::ListStamps>(operation_)) {
        return list_answer(answer, now);
    }
    if (std::holds_alternative<exchange::FindStamps>(operation_)) {
        look_up_answer(answer);
        return std::nullopt;
    }
    if (answer.items.size() != sent_.size()) {
        return request_failed(
            useless_answer("ANSWER-COUNT", "the server did not answer for every item"), now);
    }
    return items_answer(answer, now);
}

void Conversation::answered() {
    answered_since_failure_ = true;
    if (troubled_) {
        troubled_ = false;
        changes_.push_back({mailbox_.id, mailbox_.folder_id, std::nullopt, 0, std::nullopt});
    }
}

void Conversation::progressed() {
    attempts_ = 0;
    if (own_limit_ > 0) {
        own_limit_ = cautious_ ? own_limit_ + 1 : own_limit_ * 2;
        if (own_limit_ > undivided) {
            own_limit_ = 0;
            cautious_ = false;
        }
    }
}

std::optional<Failure> Conversation::folder_answer(const Answer& answer, Clock::time_point now) {
    const auto* find = std::get_if<exchange::FindFolder>(&operation_);
    const auto& name =
        find != nullptr ? find->name : std::get<exchange::CreateFolder>(operation_).name;
    if (answer.folder_id.empty()) {
        if (find == nullptr || name.empty()) {
            return request_failed(useless_answer("NO-FOLDER-ID", "the server names no folder"),
                                  now);
        }
        answered();
        folder_missing_ = true;
        return std::nullopt;
    }
    folder_missing_ = false;
    mailbox_.folder_id = answer.folder_id;
    stamps_.doubt();
    answered();
    changes_.push_back({mailbox_.id, answer.folder_id, std::nullopt, 0, std::nullopt});
    return std::nullopt;
}

std::optional<Failure> Conversation::list_answer(const Answer& answer, Clock::time_point now) {
    const auto& asked = std::get<exchange::ListStamps>(operation_);
    switch (stamps_.take(asked, answer, mailbox_.stamp_prefix)) {
        case StampList::Page::moved:
            return request_failed(
                useless_answer("LIST-MOVED", "the folder changed while it was listed"), now);
        case StampList::Page::stuck:
            return request_failed(
                useless_answer("PAGE-STUCK", "the server's next page is not after this one"), now);
        case StampList::Page::unwanted:
        case StampList::Page::taken:
            break;
    }
    answered();
    if (stamps_.complete()) {
        use_list();
    }
    return std::nullopt;
}

void Conversation::use_list() {
    // What was to be created but is there already is brought up to date instead.
    Tasks creates = creates_.take(creates_.size());
    Tasks lookups = lookups_.take(lookups_.size());
    std::move(lookups.begin(), lookups.end(), std::back_inserter(creates));
    for (Task& task : creates) {
        const std::string& stamp = task.desired->stamp;
        if (auto item = stamps_.claim(stamp)) {
            there_already(std::move(task), std::move(*item));
        } else if (stamps_.may_hold_cut(stamp)) {
            lookups_.push_back(std::move(task));
        } else {
            creates_.push_back(std::move(task));
        }
    }
    for (exchange::ItemAnswer& item : stamps_.take_unclaimed()) {
        if (auto key = key_of_stamp(item.stamp, mailbox_.stamp_prefix)) {
            outcomes_.push_back({mailbox_.id,
                                 Result::found,
                                 Action::create,
                                 std::move(*key),
                                 nullptr,
                                 std::move(item.item),
                                 {},
                                 {}});
        }
    }
}

void Conversation::there_already(Task task, exchange::ItemReference item) {
    // What it holds is not known, so everything is written.
    task.action = Action::update;
    task.was_there = true;
    task.item = std::move(item);
    task.fields = task.desired->all;
    task.fields.insert(task.fields.end(), task.desired->absent.begin(), task.desired->absent.end());
    task.before.clear();
    add(std::move(task));
}

void Conversation::look_up_answer(const Answer& answer) {
    answered();
    Tasks sent = ::std::exchange(sent_, {});
    for (Task& task : sent) {
        const auto there =
            std::find_if(answer.items.begin(), answer.items.end(),
                         [&](const auto& item) { return item.stamp == task.desired->stamp; });
        if (there != answer.items.end()) {
            there_already(std::move(task), there->item);
        } else {
            creates_.push_back(std::move(task));
        }
    }
}

// ---- item by item ---------------------------------------------------------------------------

std::optional<Failure> Conversation::items_answer(const Answer& answer, Clock::time_point now) {
    const bool creating = std::holds_alternative<exchange::CreateItems>(operation_);
    Tasks sent = ::std::exchange(sent_, {});
    std::optional<Failure> common;
    for (std::size_t i = 0; i < sent.size(); ++i) {
        const exchange::ItemAnswer& item = answer.items[i];
        if (creating && item.failure && item.failure->may_have_happened) {
            stamps_.doubt();
        }
        if (!item.failure) {
            item_succeeded(std::move(sent[i]), item.item);
        } else if (concerns_one_item(item.failure->disposition)) {
            item_failed(std::move(sent[i]), *item.failure);
        } else {
            // The item met what the whole mailbox may meet.
            common = item.failure;
            sent_.push_back(std::move(sent[i]));
        }
    }
    const bool others_went_well = sent_.size() < sent.size();
    if (others_went_well) {
        answered();
        progressed();
        for (Task& task : ::std::exchange(sent_, {})) {
            if (++task.attempts > most_attempts) {
                finish(std::move(task), Result::failed, {}, *common);
            } else {
                sent_.push_back(std::move(task));
            }
        }
    }
    if (sent_.empty()) {
        return std::nullopt;
    }
    auto trouble = request_failed(*common, now);
    if (trouble && others_went_well && !exchange::concerns_target(*trouble)) {
        return std::nullopt;
    }
    return trouble;
}

void Conversation::item_succeeded(Task task, exchange::ItemReference item) {
    if (std::holds_alternative<exchange::GetItems>(operation_)) {
        task.item = std::move(item);
        queue_of(task.action).push_front(std::move(task));
        return;
    }
    // Some servers answer an update with the change key only.
    if (item.id.empty()) {
        item.id = task.item.id;
    }
    switch (task.action) {
        case Action::create:
        case Action::update:
            finish(std::move(task), Result::written, std::move(item));
            break;
        case Action::remove:
            stamps_.forget(task.item.id);
            finish(std::move(task), Result::removed, {});
            break;
        case Action::unlink:
            stamps_.forget(task.item.id);
            finish(std::move(task), Result::unlinked, {});
            break;
    }
}

void Conversation::item_failed(Task task, const Failure& failure) {
    if (failure.disposition == Disposition::item_gone) {
        gone(std::move(task));
    } else if (failure.disposition == Disposition::reread && task.action != Action::create &&
               ++task.attempts <= most_attempts) {
        rereads_.push_back(std::move(task));
    } else {
        finish(std::move(task), Result::failed, {}, failure);
    }
}

void Conversation::gone(Task task) {
    // It may only have moved, and then bears another id: look for stamps before the next create.
    stamps_.doubt();
    switch (task.action) {
        case Action::remove:
            finish(std::move(task), Result::removed, {});
            return;
        case Action::unlink:
            finish(std::move(task), Result::unlinked, {});
            return;
        case Action::create:
            // The folder went while we wrote into it.
            forget_folder();
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
    if (++task.attempts > most_attempts) {
        finish(std::move(task), Result::failed, {},
               {.disposition = Disposition::item_failed,
                .code = "ErrorItemNotFound",
                .message = "the item disappears again whenever it is created"});
        return;
    }
    task.action = Action::create;
    task.was_there = false;
    task.item = {};
    task.fields = task.desired->all;
    task.before.clear();
    creates_.push_back(std::move(task));
}

// ---- requests that fail ---------------------------------------------------------------------

std::optional<Failure> Conversation::request_failed(const Failure& failure, Clock::time_point now) {
    if (std::holds_alternative<exchange::CreateItems>(operation_) && failure.may_have_happened) {
        stamps_.doubt();
    }
    if (exchange::concerns_target(failure)) {
        requeue_sent();
        return failure;
    }
    switch (failure.disposition) {
        case Disposition::mailbox_disabled:
            ++attempts_;
            suspend(failure, std::nullopt, now);
            return std::nullopt;
        case Disposition::folder_gone:
            folder_gone(failure, now);
            return std::nullopt;
        case Disposition::bisect:
        case Disposition::item_failed:
        case Disposition::item_gone:
        case Disposition::reread:
            bisect(failure, now);
            return std::nullopt;
        case Disposition::resync:
            stamps_.doubt();
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

void Conversation::bisect(const Failure& failure, Clock::time_point now) {
    if (sent_.empty()) {
        // Not about items: the folder cannot be found or listed.
        back_off(failure, now);
    } else if (sent_.size() == 1) {
        Task task = std::move(sent_.front());
        sent_.clear();
        item_failed(std::move(task), failure);
    } else {
        own_limit_ = sent_.size() / 2;
        requeue_sent();
    }
}

void Conversation::folder_gone(const Failure& failure, Clock::time_point now) {
    requeue_sent();
    forget_folder();
    if (attempts_ >= most_attempts) {
        back_off(failure, now);
    } else {
        ++attempts_;
    }
}

void Conversation::forget_folder() {
    mailbox_.folder_id.clear();
    folder_missing_ = false;
    stamps_.doubt();
    troubled_ = false;  // whoever takes the change takes it so
    changes_.push_back({mailbox_.id, {}, std::nullopt, 0, std::nullopt});
}

void Conversation::back_off(const Failure& failure, Clock::time_point now) {
    requeue_sent();
    ++attempts_;
    std::optional<std::chrono::milliseconds> asked;
    if (failure.retry_after.count() > 0) {
        asked = failure.retry_after;
    }
    const auto pause = net::pause_after(attempts_, {}, jitter(), asked);
    if (pause > longest_wait_in_memory) {
        suspend(failure, pause, now);
    } else {
        not_before_ = now + pause;
    }
}

void Conversation::suspend(const Failure& failure,
                           std::optional<std::chrono::milliseconds> retry_after,
                           Clock::time_point now) {
    requeue_sent();
    troubled_ = true;
    not_before_ = now + retry_after.value_or(std::chrono::milliseconds(0));
    changes_.push_back({mailbox_.id, mailbox_.folder_id, failure, attempts_, retry_after});
    drop(Result::postponed, failure);
}

void Conversation::requeue_sent() {
    Tasks sent = ::std::exchange(sent_, {});
    for (auto task = sent.rbegin(); task != sent.rend(); ++task) {
        TaskQueue& queue = origin_of(*task);
        queue.push_front(std::move(*task));
    }
}

void Conversation::finish(Task task, Result result, exchange::ItemReference item, Failure failure) {
    if (task.was_there && result != Result::written) {
        // Nobody but us knows of that item: it has to be met again.
        stamps_.doubt();
    }
    outcomes_.push_back({mailbox_.id, result, task.action, std::move(task.record),
                         std::move(task.desired), std::move(item), std::move(task.fields),
                         std::move(task.before), std::move(failure)});
}

void Conversation::drop(Result result, const Failure& failure) {
    for (TaskQueue* queue : {&lookups_, &creates_, &updates_, &rereads_, &unlinks_, &removes_}) {
        for (Task& task : queue->take(queue->size())) {
            finish(std::move(task), result, {}, failure);
        }
    }
    stamps_.restart();
}

}  // namespace crmsync::sync
