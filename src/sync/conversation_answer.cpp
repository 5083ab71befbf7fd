// The half of Conversation that takes answers to requests that were carried out.
#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "sync/conversation.h"
#include "sync/decision.h"
#include "sync/photo.h"
#include "sync/stamp.h"

namespace crmsync::sync {

using exchange::Answer;
using exchange::Disposition;
using exchange::Failure;
using exchange::Scope;

namespace {

// From this size on a batch is no longer the rest of one that was divided.
constexpr std::size_t undivided = 64;

// The answer is of no use; the request may have been carried out.
Failure useless_answer(const char* code, const char* words) {
    return {.disposition = Disposition::back_off,
            .code = code,
            .message = words,
            .may_have_happened = true,
            .scope = Scope::request};
}

}  // namespace

std::optional<Failure> Conversation::answer(Answer answer, Clock::time_point now) {
    under_way_ = false;
    if (to_another_) {
        return answer_of_another(answer);
    }
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
    if (std::holds_alternative<exchange::LocateFolder>(operation_) ||
        std::holds_alternative<exchange::SearchDeleted>(operation_)) {
        location_answer(answer);
        return std::nullopt;
    }
    if (std::holds_alternative<exchange::ListStamps>(operation_)) {
        return asked_inventory_ ? inventory_answer(std::move(answer), now)
                                : list_answer(answer, now);
    }
    if (std::holds_alternative<exchange::ListChanges>(operation_)) {
        changes_answer(std::move(answer));
        return std::nullopt;
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

// What was done there need not be done here: that is found out as where an answer was lost.
std::optional<Failure> Conversation::answer_of_another(const Answer& answer) {
    doubt_sent();
    requeue_sent();
    const bool is_its_own = answer.failure && answer.failure->scope == Scope::mailbox &&
                            !exchange::concerns_target(*answer.failure);
    return is_its_own ? std::nullopt : answer.failure;
}

void Conversation::answered() {
    answered_since_failure_ = true;
    if (troubled_) {
        troubled_ = false;
        changes_.push_back(
            {.mailbox = mailbox_.id, .folder_id = mailbox_.folder_id, .failure = {}});
    }
}

void Conversation::succeeded() {
    answered();
    attempts() = 0;
}

void Conversation::widen_limit() {
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
    in_doubt_ = false;
    const auto& name =
        find != nullptr ? find->name : std::get<exchange::CreateFolder>(operation_).name;
    if (answer.folder_id.empty()) {
        if (find == nullptr || name.empty()) {
            return request_failed(useless_answer("NO-FOLDER-ID", "the server names no folder"),
                                  now);
        }
        succeeded();
        folder_missing_ = true;
        give_up_astray();
        return std::nullopt;
    }
    folder_missing_ = false;
    mailbox_.folder_id = answer.folder_id;
    if (mailbox_.deleted_folder == mailbox_.folder_id) {
        mailbox_.deleted_folder.clear();  // its user has taken it back
    }
    located_ = now;
    locate_ = false;
    moved_ = false;
    stamps_.doubt();
    succeeded();
    changes_.push_back({.mailbox = mailbox_.id, .folder_id = answer.folder_id, .failure = {}});
    return std::nullopt;
}

void Conversation::location_answer(const Answer& answer) {
    in_doubt_ = false;
    locate_ = false;
    moved_ = answer.moved;
    succeeded();
    if (!answer.deleted) {
        return;
    }
    forget_folder(mailbox_.folder_id);
    take_up_put_off();
    for (TaskQueue* queue : {&updates_, &unlinks_, &removes_}) {
        for (Task& task : queue->take(queue->size())) {
            gone(std::move(task));
        }
    }
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
        succeeded();
        use_list();
    }
    return std::nullopt;
}

// What was sent may be carried out yet.
void Conversation::doubt_sent() {
    const bool creating = std::holds_alternative<exchange::CreateItems>(operation_);
    if (creating) {
        stamps_.doubt();
    }
    if (creating || std::holds_alternative<exchange::DeleteItems>(operation_)) {
        doubts_.push_back({mailbox_.id, true});
    }
}

void Conversation::changes_answer(Answer answer) {
    const bool from_start = std::get<exchange::ListChanges>(operation_).state.empty();
    if (!from_start || answer.complete) {
        succeeded();
    }
    if (!listing_) {
        return;  // given up meanwhile
    }
    listing_.reset();
    pages_.push_back({.mailbox = mailbox_.id,
                      .from_start = from_start,
                      .complete = answer.complete,
                      .state = std::move(answer.state),
                      .changes = std::move(answer.changes)});
}

void Conversation::use_list() {
    take_up_put_off();
    // What is to lose our stamp is not to be met by it any more.
    std::set<std::string> going;
    unlinks_.each([&](const Task& task) { going.insert(task.item.id); });
    stamps_.forget(going);
    // What was to be created but is there already is brought up to date instead.
    Tasks creates = creates_.take(creates_.size());
    Tasks lookups = lookups_.take(lookups_.size());
    std::move(lookups.begin(), lookups.end(), std::back_inserter(creates));
    for (Task& task : creates) {
        const std::string& stamp = task.desired->stamp;
        if (auto item = stamps_.claim(stamp)) {
            there_already(std::move(task), *item);
        } else if (stamps_.may_hold_cut(stamp)) {
            lookups_.push_back(std::move(task));
        } else {
            not_there(std::move(task));
        }
    }
    find_astray();
    if (creates.empty()) {
        // Nothing is about to be created, and what nobody knows of is nobody's business yet.
        stamps_.doubt();
        return;
    }
    doubts_.push_back({mailbox_.id, false});
    report_unclaimed();
}

void Conversation::report_unclaimed() {
    for (const exchange::ItemAnswer& item : stamps_.take_unclaimed()) {
        if (auto key = key_of_stamp(item.stamp, mailbox_.stamp_prefix)) {
            outcomes_.push_back({.mailbox = mailbox_.id,
                                 .result = Result::found,
                                 .action = Action::create,
                                 .record = std::move(*key),
                                 .desired = nullptr,
                                 .item = item.item,
                                 .adopted = exchange::was_adopted(item)});
        }
    }
}

// It has come back under another id, or it is gone. What a user made, or is a copy of that, only
// loses the stamp.
void Conversation::find_astray() {
    for (Task& task : astray_.take(astray_.size())) {
        auto found = stamps_.claim(stamp_of(mailbox_.stamp_prefix, task.record));
        if (!found) {
            not_found(std::move(task));
            continue;
        }
        if (task.action == Action::remove && exchange::was_adopted(*found)) {
            task.action = Action::unlink;
            task.copy = true;
        }
        task.unknown = task.action == Action::remove;
        task.known_as = ::std::exchange(task.item, std::move(found->item)).id;
        add(std::move(task));
    }
}

void Conversation::give_up_astray() {
    for (Task& task : astray_.take(astray_.size())) {
        not_found(std::move(task));
    }
}

void Conversation::not_found(Task&& task) {
    exchange::ItemReference item = task.item;
    finish(std::move(task), Result::removed, std::move(item));
}

void Conversation::there_already(Task&& task, const exchange::ItemAnswer& item) {
    // All of it may have to be written: that is known once it is read.
    task.action = Action::update;
    task.was_there = true;
    task.adopted = exchange::was_adopted(item);
    task.photo = {};
    task.item = item.item;
    task.fields = task.desired->all;
    const record::Fields absent = absent_fields(*task.desired->rules, task.desired->values);
    task.fields.insert(task.fields.end(), absent.begin(), absent.end());
    task.before.clear();
    task.agreed.reset();
    add(std::move(task));
}

void Conversation::look_up_answer(const Answer& answer) {
    succeeded();
    Tasks sent = ::std::exchange(sent_, {});
    for (Task& task : sent) {
        const auto there =
            std::find_if(answer.items.begin(), answer.items.end(),
                         [&](const auto& item) { return item.stamp == task.desired->stamp; });
        if (there != answer.items.end()) {
            there_already(std::move(task), *there);
        } else {
            not_there(std::move(task));
        }
    }
}

void Conversation::not_there(Task&& task) {
    if (task.sought) {
        finish(std::move(task), Result::vanished, {});
    } else {
        creates_.push_back(std::move(task));
    }
}

}  // namespace crmsync::sync
