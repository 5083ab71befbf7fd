// From request XML to stored values: what a create or an update writes, and what it must not.
#pragma once

#include "property_bag.hpp"
#include "property_table.hpp"

#include <pugixml.hpp>

#include <string>
#include <vector>

namespace stand_in {

/// One value to be written, or removed.
struct Change {
    SlotId slot = kNoSlot;
    std::string value;
    bool remove = false;
};

using Changes = std::vector<Change>;

/// The values of a new item, from the item element of CreateItem.
/// Throws ItemError for read-only properties and values that are too long.
Changes read_new_item(pugi::xml_node item, const ItemClass& item_class);

/// The changes of t:Updates. Throws ItemError: not exactly one property in a field
/// (ErrorIncorrectUpdatePropertyCount), another than the path says
/// (ErrorUpdatePropertyMismatch), read-only (ErrorInvalidPropertySet, ...Delete).
Changes read_updates(pugi::xml_node updates, const ItemClass& item_class);

/// Applies changes to an item's values and does what the server does by itself afterwards.
void apply_changes(PropertyBag& values, const ItemClass& item_class, const Changes& changes,
                   bool is_new);

}  // namespace stand_in
