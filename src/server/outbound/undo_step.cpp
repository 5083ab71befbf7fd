#include "server/outbound/undo_step.h"

#include <utility>

#include "record/value.h"

namespace crmsync {

void UndoneRows::add(std::string_view step, int mailbox, const std::string& record) {
    steps_.emplace_back(step);
    mailboxes_.push_back(mailbox);
    records_.push_back(record);
}

void UndoneRows::remove() const {
    if (!records_.empty()) {
        pg::query(
            "DELETE FROM crmsync.undoing u USING unnest($1::text[], $2::integer[], $3::text[]) "
            "AS d(step, mailbox, record), crmsync.mailbox m WHERE m.id = d.mailbox "
            "AND u.link = m.link AND u.step = d.step AND u.mailbox = d.mailbox "
            "AND u.record = d.record",
            &steps_, &mailboxes_, &records_);
    }
}

Judged judge(const record::Layout& layout, const record::Values& now, const record::Values& old,
             const record::Values& written) {
    Judged judged{now, {}, {}};
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const record::Property& property = *layout[i];
        // What is alike in both is not concerned, and what is not compared follows from the rest.
        if (!property.compared || record::same_value(property, old[i], written[i]) ||
            record::same_value(property, now[i], old[i])) {
            continue;
        }
        if (record::only_describes(property, old[i])) {
            judged.lost += (judged.lost.empty() ? "" : ", ") + std::string(layout[i]->name);
        } else if (record::same_value(property, now[i], written[i])) {
            judged.restored[i] = old[i];
        } else {
            judged.left += (judged.left.empty() ? "" : ", ") + std::string(layout[i]->name);
        }
    }
    return judged;
}

sync::Outcome left_alone(int mailbox, const std::string& record, sync::Action action,
                         const char* code, std::string message) {
    sync::Outcome outcome{};
    outcome.mailbox = mailbox;
    outcome.result = sync::Result::failed;
    outcome.action = action;
    outcome.record = record;
    outcome.failure = {exchange::Disposition::item_failed, code, std::move(message)};
    outcome.undo = sync::UndoStep::item;
    return outcome;
}

sync::Outcome not_kept(int mailbox, const std::string& record, sync::Action action,
                       const std::string& properties) {
    return left_alone(mailbox, record, action, "NOT-KEPT",
                      "what was there before is not kept: " + properties);
}

sync::Outcome changed_since(int mailbox, const std::string& record, sync::Action action,
                            const std::string& properties) {
    return left_alone(mailbox, record, action, "CHANGED", "changed again meanwhile: " + properties);
}

}  // namespace crmsync
