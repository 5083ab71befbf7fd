// The values of an item as XML: the whole element for CreateItem, the single changes for
// UpdateItem.
#pragma once

#include <cstdint>
#include <pugixml.hpp>

#include "exchange/operation.h"

namespace crmsync::exchange::ews {

// Throws std::invalid_argument "... is not supported yet" for objects and properties that this
// build does not write, and for properties that only travel inwards.
void add_new_item(pugi::xml_node items, record::Object object, const NewItem& item,
                  std::int64_t attempt);
void add_updates(pugi::xml_node updates, record::Object object, const ItemChange& item);

}  // namespace crmsync::exchange::ews
