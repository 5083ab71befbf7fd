#include "sync/photo.h"

#include <algorithm>

#include "record/value.h"

namespace crmsync::sync {

const record::Field* photo_of(const Task& task) {
    if (task.action != Action::create && task.action != Action::update) {
        return nullptr;
    }
    const record::Fields& fields =
        task.action == Action::create ? task.desired->all.get() : task.fields;
    const auto photo = std::find_if(fields.begin(), fields.end(), [](const record::Field& field) {
        return record::travels_apart(*field.property);
    });
    return photo == fields.end() ? nullptr : &*photo;
}

bool has_rest(const Task& task) {
    return task.action == Action::create || task.stamp ||
           std::any_of(task.fields.begin(), task.fields.end(), [](const record::Field& field) {
               return !record::travels_apart(*field.property);
           });
}

std::optional<std::size_t> place_of_photo(const record::Layout& layout) {
    const auto at = std::find_if(
        layout.begin(), layout.end(),
        [](const record::Property* property) { return record::travels_apart(*property); });
    return at == layout.end() ? std::nullopt
                              : std::optional(static_cast<std::size_t>(at - layout.begin()));
}

// Two photos are one too many, even if the first is the right one.
void note_photo(Task& task, const exchange::ItemAnswer& answer) {
    const record::Field* photo = photo_of(task);
    if (photo == nullptr) {
        return;
    }
    const auto place = place_of_photo(task.desired->rules->layout);
    task.photo.looked = true;
    task.photo.there = answer.photos;
    task.photo.held = place ? answer.values[*place] : record::Value();
    task.photo.content.reset();
    task.photo.settled = answer.photos.size() <= 1 &&
                         record::same_value(*photo->property, photo->value, task.photo.held);
}

bool is_of_photo(const exchange::Operation& operation) {
    return std::holds_alternative<exchange::GetAttachments>(operation) ||
           std::holds_alternative<exchange::CreateAttachment>(operation) ||
           std::holds_alternative<exchange::DeleteAttachment>(operation);
}

}  // namespace crmsync::sync
