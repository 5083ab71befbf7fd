#include "sync/item_as_read.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "record/merge.h"
#include "record/value.h"

namespace crmsync::sync {

record::Values shadow_of(const Task& task) {
    record::Values shadow = task.agreed.value_or(task.desired->values);
    for (std::size_t i = 0; i < task.fields.size(); ++i) {
        if (const auto place = place_of(task.desired->rules->layout, task.fields[i].property)) {
            shadow[*place] = task.before[i];
        }
    }
    return shadow;
}

namespace {

// Of an item of which nothing is known, where its mailbox is not read: what we made ourselves is to
// be as the CRM has it, and what a user made keeps what the CRM has no value for. Whether what
// cannot be read is another value than the CRM's nobody knows.
record::Values shadow_of_unknown(const Task& task, const exchange::ItemAnswer& answer) {
    record::Values shadow = task.adopted ? record::Values(answer.values.size()) : answer.values;
    for (const std::size_t place : answer.unread) {
        shadow[place] = task.desired->values[place];
    }
    return shadow;
}

// Whether the item holds what was agreed on, and of what the task writes the photo, or with `rest`
// all else.
bool is_as_agreed(const Task& task, const exchange::ItemAnswer& answer, bool rest) {
    const record::Layout& layout = task.desired->rules->layout;
    record::Values expected = shadow_of(task);
    for (const record::Field& field : task.fields) {
        const auto place = place_of(layout, field.property);
        if (!place) {
            continue;
        }
        if (!record::travels_apart(*field.property)) {
            expected[*place] = rest ? field.value : expected[*place];
        } else if (const record::Value& held = answer.values[*place];
                   !held || record::same_value(*field.property, field.value, held)) {
            expected[*place] = held;  // the old one goes before the new one is made
        } else if (task.photo.looked) {
            expected[*place] = task.photo.held;
        }
    }
    for (const std::size_t place : answer.unread) {
        expected[place] = answer.values[place];
    }
    for (std::size_t place = 0; place < layout.size(); ++place) {
        if (layout[place]->compared &&
            !record::same_value(*layout[place], expected[place], answer.values[place])) {
            return false;
        }
    }
    return true;
}

// Whether the item still holds something else than the shadow says when this is written.
bool keeps_something_else(const record::Merge& merge, const record::Layout& layout,
                          const record::Values& held) {
    for (std::size_t place = 0; place < layout.size(); ++place) {
        const bool is_written = std::any_of(
            merge.to_target.begin(), merge.to_target.end(),
            [&](const record::Field& field) { return field.property == layout[place]; });
        if (layout[place]->compared && !is_written &&
            !record::same_value(*layout[place], held[place], merge.shadow[place])) {
            return true;
        }
    }
    return false;
}

}  // namespace

bool is_ours_alone(const Task& task, const exchange::ItemAnswer& answer) {
    return is_as_agreed(task, answer, true) ||
           (!task.photo.rest_written && is_as_agreed(task, answer, false));
}

void merge_with(Task& task, const exchange::ItemAnswer& answer) {
    const Rules& rules = *task.desired->rules;
    record::Values held = answer.values;
    const bool first = !knows_before(task) && !task.shadow;
    record::Values shadow = first                ? shadow_of_unknown(task, answer)
                            : knows_before(task) ? shadow_of(task)
                                                 : *task.shadow;
    record::take_as_agreed(answer.unread, rules.fields, shadow, held);
    record::Merge merge = record::merge({.object = rules.object, .first = first}, rules.layout,
                                        rules.fields, shadow, task.desired->values, held);
    task.differs = keeps_something_else(merge, rules.layout, held);
    task.fields = std::move(merge.to_target);
    task.before.clear();
    for (const record::Field& field : task.fields) {
        const auto place = place_of(rules.layout, field.property);
        task.before.push_back(place ? held[*place] : record::Value());
    }
    if (task.undo == UndoStep::none) {
        task.agreed = std::move(merge.shadow);
    }
    std::move(merge.conflicts.begin(), merge.conflicts.end(), std::back_inserter(task.conflicts));
}

}  // namespace crmsync::sync
