// The part of Conversation that lists all items of the link in its folder, for whoever wants to
// compare them with what he knows. Nothing of the list is kept: a folder may hold very many.
#include <utility>

#include "sync/conversation.h"
#include "sync/stamp.h"

namespace crmsync::sync {

using exchange::Answer;
using exchange::Disposition;
using exchange::Failure;

exchange::Operation Conversation::list_inventory() {
    if (mailbox_.folder_id.empty()) {
        return find_folder();
    }
    asked_inventory_ = true;
    return inventory_->next_page(mailbox_.folder_id);
}

// In another folder, or from the beginning of this one, the list begins anew.
void Conversation::restart_inventory() {
    if (inventory_) {
        take_inventory();
    }
    inventory_begun_ = false;
}

void Conversation::drop_inventory() {
    if (inventory_) {
        inventory_.reset();
        stamp_pages_.push_back({.mailbox = mailbox_.id, .listed = false});
    }
    inventory_begun_ = false;
}

std::optional<Failure> Conversation::inventory_answer(Answer answer, Clock::time_point now) {
    if (!inventory_) {
        return std::nullopt;  // given up meanwhile
    }
    const auto& asked = std::get<exchange::ListStamps>(operation_);
    switch (inventory_->take(asked, answer, mailbox_.stamp_prefix)) {
        case StampList::Page::unwanted:
            return std::nullopt;
        case StampList::Page::moved:
        case StampList::Page::stuck:
            restart_inventory();
            return request_failed({.disposition = Disposition::back_off,
                                   .code = "LIST-MOVED",
                                   .message = "the folder changed while it was listed",
                                   .scope = exchange::Scope::request},
                                  now);
        case StampList::Page::taken:
            break;
    }
    answered();
    inventory_->take_unclaimed();
    inventory_begun_ = true;
    StampPage page{.mailbox = mailbox_.id,
                   .from_start = asked.offset == 0,
                   .complete = inventory_->complete()};
    for (exchange::ItemAnswer& item : answer.items) {
        // Whose copy an item is whose stamp was cut cannot be told: it is left alone.
        auto record = item.failure || StampList::may_be_cut(item.stamp)
                          ? std::nullopt
                          : key_of_stamp(item.stamp, mailbox_.stamp_prefix);
        if (record) {
            page.sightings.push_back({std::move(*record), std::move(item.item), item.attempt});
        }
    }
    stamp_pages_.push_back(std::move(page));
    if (stamp_pages_.back().complete) {
        succeeded();
        inventory_.reset();
        inventory_begun_ = false;
    }
    return std::nullopt;
}

}  // namespace crmsync::sync
