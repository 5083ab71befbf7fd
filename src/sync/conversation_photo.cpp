// The part of Conversation that reads and writes photos.
#include <utility>

#include "sync/conversation.h"
#include "sync/photo.h"

namespace crmsync::sync {

using exchange::Disposition;
using exchange::Failure;
using exchange::Operation;

namespace {

// What the contents of one answer may have together, unless a single one has more.
constexpr std::size_t most_bytes = 4U << 20U;

// What a server counts beside the content.
constexpr std::size_t size_margin = 16U << 10U;

}  // namespace

// A photo that is too large is not worth reading: what is known of it says so.
void Conversation::item_found(Task&& task, const exchange::ItemAnswer& answer) {
    const record::Layout& layout = std::get<exchange::GetItems>(operation_).layout;
    const auto place = place_of_photo(layout);
    if (place && !answer.photos.empty() &&
        answer.photos.front().size <= layout[*place]->max_length + size_margin) {
        task.read = std::make_shared<exchange::ItemAnswer>(answer);
        photos_read_.push_back(std::move(task));
    } else {
        item_read(std::move(task), answer);
    }
}

Operation Conversation::read_photos(std::size_t limit) {
    exchange::GetAttachments get;
    std::size_t bytes = 0;
    for (Task& task : photos_read_.take(limit)) {
        const exchange::Attachment& photo = task.read->photos.front();
        bytes += photo.size;
        if (sent_.empty() || bytes <= most_bytes) {
            get.attachments.push_back(photo);
            sent_.push_back(std::move(task));
        } else {
            photos_read_.push_back(std::move(task));
        }
    }
    return get;
}

Operation Conversation::write_photo() {
    sent_ = photos_.take(1);
    const Task& task = sent_.front();
    ask_for_content();
    if (!task.photo.there.empty()) {
        return exchange::DeleteAttachment{task.photo.there.front()};
    }
    const auto description = record::read_description(*photo_of(task)->value);
    return exchange::CreateAttachment{task.item, std::string(description->kind),
                                      task.photo.content};
}

void Conversation::photo_written(Task&& task, const exchange::ItemAnswer& answer) {
    if (std::holds_alternative<exchange::GetAttachments>(operation_)) {
        const auto read = ::std::exchange(task.read, nullptr);
        read->values[place_of_photo(layout_of(task)).value()] = answer.values.front();
        read->content = answer.content;
        item_read(std::move(task), *read);
        return;
    }
    // Its id may be written in another way; it is the same item.
    task.item.change_key = answer.item.change_key;
    if (std::holds_alternative<exchange::CreateAttachment>(operation_)) {
        task.photo.settled = true;
    } else {
        task.photo.removed = true;
        task.photo.there.erase(task.photo.there.begin());
        task.photo.held.reset();
        task.photo.settled = task.photo.there.empty() && !photo_of(task)->value;
    }
    proceed(std::move(task));
}

// Whatever is not as it was thought to be is read again. A damaged file holds up neither the rest
// of its item nor another photo in its place; where the reason may pass, the photo is waited for.
void Conversation::photo_failed(Task&& task, const Failure& failure) {
    const bool is_other =
        failure.disposition == Disposition::item_gone || failure.disposition == Disposition::reread;
    if (is_other && ++task.attempts <= most_attempts) {
        rereads_.push_back(std::move(task));
    } else if (std::holds_alternative<exchange::GetAttachments>(operation_) &&
               (is_other || failure.damaged)) {
        const auto read = ::std::exchange(task.read, nullptr);
        read->unread.push_back(place_of_photo(layout_of(task)).value());
        item_read(std::move(task), *read);
    } else {
        finish(std::move(task), Result::failed, {}, failure);
    }
}

// What is written is written, whatever became of the photo.
void Conversation::finish_partly(Task& task) {
    const record::Field* photo = photo_of(task);
    const bool anything = task.photo.rest_written || (task.photo.removed && !has_rest(task));
    if (photo == nullptr || !anything) {
        return;
    }
    Outcome outcome{mailbox_.id,  Result::partly, task.action, task.record,
                    task.desired, task.item,      {},          {}};
    for (std::size_t i = 0; task.photo.rest_written && i < task.fields.size(); ++i) {
        if (!record::travels_apart(*task.fields[i].property)) {
            outcome.fields.push_back(task.fields[i]);
            if (i < task.before.size()) {
                outcome.before.push_back(task.before[i]);
            }
        }
    }
    outcome.agreed = task.agreed.value_or(task.desired->values);
    if (const auto place = place_of_photo(task.desired->rules->layout)) {
        (*outcome.agreed)[*place] = task.photo.held;
    }
    outcome.conflicts = ::std::exchange(task.conflicts, {});
    outcome.adopted = task.adopted;
    if (task.differs) {
        outcome.item.change_key.clear();
    }
    outcomes_.push_back(std::move(outcome));
}

// The one after the one that is sent: so a mailbox holds two, however many are to be written.
void Conversation::ask_for_content() {
    if (asked_ || waiting_.empty() || !photos_.empty()) {
        return;
    }
    asked_ = std::move(waiting_.take(1).front());
    wanted_.push_back({mailbox_.id, asked_->record, *photo_of(*asked_)->value});
}

void Conversation::supply(const WantedContent& wanted, record::Content content,
                          const std::optional<Failure>& failure) {
    if (!asked_ || asked_->record != wanted.record ||
        photo_of(*asked_)->value != wanted.description) {
        return;  // given up meanwhile
    }
    Task task = std::move(*asked_);
    asked_.reset();
    if (content) {
        task.photo.content = std::move(content);
        photos_.push_back(std::move(task));
    } else if (failure) {
        finish(std::move(task), Result::failed, {}, *failure);
    } else {
        finish(std::move(task), Result::released, {},
               {.disposition = Disposition::back_off,
                .code = "CHANGED",
                .message = "the record has another photo by now"});
    }
    ask_for_content();
}

}  // namespace crmsync::sync
