// What a task has to do with the photo of its item.
#pragma once

#include "sync/task.h"

namespace crmsync::sync {

// The photo among what is to be written; nullptr: none is, not even no more.
const record::Field* photo_of(const Task& task);

// Whether anything else is to be written.
bool has_rest(const Task& task);

// What an item has of photos, as it was read with the rest.
void note_photo(Task& task, const exchange::ItemAnswer& answer);

// Where in a layout the photo stands.
std::optional<std::size_t> place_of_photo(const record::Layout& layout);

// Whether it reads or writes a photo, apart from its item.
bool is_of_photo(const exchange::Operation& operation);

}  // namespace crmsync::sync
