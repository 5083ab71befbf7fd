#include "sync/conversation.h"
#include "sync/photo.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace crmsync::sync {

using exchange::Failure;
using exchange::Operation;

void Conversation::redescribe(MailboxDescription description) {
    const bool same_mailbox = description.target == mailbox_.target &&
                              description.account.mailbox == mailbox_.account.mailbox;
    const bool same_folder = same_mailbox && description.object == mailbox_.object &&
                             description.folder_name == mailbox_.folder_name;
    if (troubled_ && !description.troubled) {
        // Somebody said that it works again.
        troubled_ = false;
        attempts_ = {};
        not_before_ = {};
    }
    troubled_ |= description.troubled;
    if (same_folder) {
        description.folder_id = mailbox_.folder_id;
        description.deleted_folder = mailbox_.deleted_folder;
    }
    mailbox_ = std::move(description);
    to_another_ |= !same_mailbox;
    if (!same_folder) {
        mailbox_.folder_id.clear();
        folder_missing_ = false;
        elsewhere_ = true;
        stamps_.doubt();
        list_from_start();
        restart_inventory();
    }
}

namespace {

constexpr std::chrono::hours location_interval{4};

}  // namespace

// ---- what is queued -------------------------------------------------------------------------

TaskQueue& Conversation::queue_of(Action action) {
    switch (action) {
        case Action::create:
            return creates_;
        case Action::update:
            return updates_;
        case Action::unlink:
            return unlinks_;
        case Action::fetch:
            return rereads_;
        case Action::remove:
            break;
    }
    return removes_;
}

// What a user changes in a mailbox that is read comes in.
bool Conversation::fills_unseen_gap(const Task& task) const {
    return !mailbox_.inbound && fills_gap(task);
}

TaskQueue& Conversation::first_queue_of(const Task& task) {
    const bool is_read_first =
        task.unknown ||
        (task.action == Action::update && (photo_of(task) != nullptr || !knows_before(task) ||
                                           fills_unseen_gap(task) || task.item.change_key.empty()));
    return is_read_first ? rereads_ : queue_of(task.action);
}

TaskQueue& Conversation::origin_of(const Task& sent) {
    return std::holds_alternative<exchange::GetItems>(operation_) || is_of_photo(operation_)
               ? rereads_
           : std::holds_alternative<exchange::FindStamps>(operation_) ? lookups_
                                                                      : queue_of(sent.action);
}

void Conversation::add(Task task) {
    if (task.action == Action::update && task.fields.empty() && !task.stamp) {
        exchange::ItemReference item = task.item;
        finish(std::move(task), Result::written, std::move(item));
        return;
    }
    first_queue_of(task).push_back(std::move(task));
}

std::size_t Conversation::queued() const {
    std::size_t count = put_off_.size() + waiting();
    for (const auto queue : to_be_sent) {
        count += (this->*queue).size();
    }
    return count;
}

bool Conversation::has_fresh_work() const {
    return std::any_of(std::begin(to_be_sent), std::end(to_be_sent),
                       [this](auto queue) { return (this->*queue).has_fresh(); });
}

void Conversation::take_up_put_off() {
    for (Task& task : put_off_.take(put_off_.size())) {
        first_queue_of(task).push_back(std::move(task));
    }
}

void Conversation::requeue_sent() {
    Tasks sent = ::std::exchange(sent_, {});
    for (auto task = sent.rbegin(); task != sent.rend(); ++task) {
        TaskQueue& queue = origin_of(*task);
        queue.push_front(std::move(*task));
    }
}

void Conversation::finish(Task&& task, Result result, exchange::ItemReference item,
                          Failure failure) {
    if (result == Result::failed || result == Result::postponed || result == Result::released) {
        finish_partly(task);
    }
    if (task.was_there && result != Result::written) {
        // Nobody but us knows of that item: it has to be met again.
        stamps_.doubt();
    }
    if (task.action == Action::fetch && item.id.empty()) {
        item.id = std::move(task.item.id);  // whoever asked knows it by this
    }
    if (task.differs) {
        item.change_key.clear();
    }
    outcomes_.push_back({.mailbox = mailbox_.id,
                         .result = result,
                         .action = task.action,
                         .record = std::move(task.record),
                         .desired = std::move(task.desired),
                         .item = std::move(item),
                         .fields = std::move(task.fields),
                         .before = std::move(task.before),
                         .failure = std::move(failure),
                         .agreed = std::move(task.agreed),
                         .conflicts = std::move(task.conflicts),
                         .rules = std::move(task.rules),
                         .notice = task.notice,
                         .undo = task.undo,
                         .adopted = task.adopted,
                         .copy = task.copy,
                         .known_as = std::move(task.known_as)});
}

// Of another folder the state says nothing.
void Conversation::list_from_start() {
    if (listing_) {
        listing_->clear();
    }
}

void Conversation::drop(Result result, const Failure& failure) {
    if (asked_) {
        waiting_.push_front(std::move(*asked_));
        asked_.reset();
    }
    wanted_.clear();
    const auto give_up = [&](TaskQueue& queue) {
        for (Task& task : queue.take(queue.size())) {
            finish(std::move(task), result, {}, failure);
        }
    };
    for (const auto queue : to_be_sent) {
        give_up(this->*queue);
    }
    give_up(waiting_);
    give_up(put_off_);
    stamps_.restart();
    if (listing_) {
        listing_.reset();
        if (result == Result::released) {
            pages_.push_back({.mailbox = mailbox_.id, .listed = false});
        }
    }
    drop_inventory();
}

// The default folder cannot be deleted.
void Conversation::locate_folder(Clock::time_point now) {
    if (mailbox_.folder_name.empty() || (located_ && now - *located_ < location_interval)) {
        return;
    }
    located_ = now;
    locate_ = true;
}

// ---- the next request -----------------------------------------------------------------------

Operation Conversation::next(std::size_t limit) {
    if (own_limit_ > 0) {
        limit = std::min(limit, own_limit_);
    }
    limit = std::max<std::size_t>(limit, 1);
    elsewhere_ = false;
    to_another_ = false;
    asked_inventory_ = false;
    if (!in_doubt_ && queued() - waiting() == put_off_.size()) {
        take_up_put_off();
    }
    const bool fresh = has_fresh_work();
    const auto due = [&](const TaskQueue& queue) {
        return fresh ? queue.has_fresh() : !queue.empty();
    };
    if (!mailbox_.folder_id.empty() && moved_) {
        operation_ = exchange::SearchDeleted{mailbox_.folder_id};
    } else if (!mailbox_.folder_id.empty() && (in_doubt_ || locate_)) {
        operation_ = exchange::LocateFolder{mailbox_.object, mailbox_.folder_id};
    } else if (in_doubt_) {
        operation_ = find_folder();
    } else if (listing_ && !fresh) {
        operation_ = list_folder();
    } else if (inventory_ && (inventory_begun_ || !fresh)) {
        // Nothing in between: what is created or deleted meanwhile moves the rest.
        operation_ = list_inventory();
    } else if (due(photos_read_)) {
        operation_ = read_photos(limit);
    } else if (due(photos_)) {
        operation_ = write_photo();
    } else if (due(lookups_) || due(creates_)) {
        operation_ = create_or_prepare(limit);
    } else if (due(rereads_)) {
        operation_ = reread_items(limit);
    } else if (due(updates_)) {
        operation_ = update_items(limit);
    } else if (due(unlinks_) && !stamps_.begun()) {
        operation_ = unlink_items(limit);
    } else if (due(removes_) && !stamps_.begun()) {
        operation_ = remove_items(limit);
    } else {
        // For what is astray; and what goes from a list that has begun moves the rest.
        operation_ = list_stamps();
    }
    under_way_ = true;
    return operation_;
}

void Conversation::not_sent() {
    under_way_ = false;
    requeue_sent();
}

Operation Conversation::create_or_prepare(std::size_t limit) {
    if (mailbox_.folder_id.empty() || !stamps_.complete()) {
        return list_stamps();
    }
    return lookups_.empty() ? create_items(limit) : look_up();
}

Operation Conversation::list_stamps() {
    if (mailbox_.folder_id.empty()) {
        return find_folder();
    }
    return stamps_.next_page(mailbox_.folder_id);
}

Operation Conversation::find_folder() {
    if (folder_missing_) {
        return exchange::CreateFolder{mailbox_.object, mailbox_.folder_name};
    }
    return exchange::FindFolder{mailbox_.object, mailbox_.folder_name};
}

Operation Conversation::list_folder() {
    if (mailbox_.folder_id.empty()) {
        return find_folder();
    }
    return exchange::ListChanges{mailbox_.object, mailbox_.folder_id, *listing_};
}

Operation Conversation::look_up() {
    // One at a time: two that begin alike could not be told apart in one answer.
    sent_ = lookups_.take(1);
    return exchange::FindStamps{mailbox_.folder_id, {sent_.front().desired->stamp}};
}

namespace {

// What the items of one request may hold together, unless a single one has more: servers refuse
// what is much larger (IIS takes 64 MB), and several requests wait in memory.
constexpr std::size_t most_written = 4U << 20U;

auto fits_one_request() {
    return [bytes = std::size_t{0}, alone = true](const Task& task) mutable {
        const record::Fields& fields =
            task.action == Action::create ? task.desired->all.get() : task.fields;
        for (const record::Field& field : fields) {
            bytes += field.value ? field.value->size() : 0;
        }
        return ::std::exchange(alone, false) || bytes <= most_written;
    };
}

}  // namespace

Operation Conversation::create_items(std::size_t limit) {
    sent_ = creates_.take(limit, fits_one_request());
    exchange::CreateItems create{mailbox_.object, mailbox_.folder_id, {}};
    create.items.reserve(sent_.size());
    for (const Task& task : sent_) {
        create.items.push_back({task.desired->stamp, task.desired->all});
    }
    return create;
}

Operation Conversation::update_items(std::size_t limit) {
    sent_ = updates_.take(limit, fits_one_request());
    exchange::UpdateItems update{mailbox_.object, {}};
    update.items.reserve(sent_.size());
    for (const Task& task : sent_) {
        update.items.push_back(
            {task.item, task.fields, task.stamp ? task.desired->stamp : std::string()});
    }
    return update;
}

Operation Conversation::reread_items(std::size_t limit) {
    exchange::GetItems get{mailbox_.object, {}, {}, mailbox_.key_property, mailbox_.deleted_folder};
    Tasks others;
    for (Task& task : rereads_.take(limit)) {
        // One request reads the same properties of all; a link that was enabled anew has others.
        const record::Layout& layout = layout_of(task);
        if (sent_.empty()) {
            get.layout = layout;
        }
        if (layout == get.layout) {
            get.ids.push_back(task.item.id);
            sent_.push_back(std::move(task));
        } else {
            others.push_back(std::move(task));
        }
    }
    for (Task& task : others) {
        rereads_.push_back(std::move(task));
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

}  // namespace crmsync::sync
