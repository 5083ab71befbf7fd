// Extended properties: the ways a request names them, brought into one key.
//
// DistinguishedPropertySetId and the GUID it stands for are the same property, PropertyId may be
// decimal or hexadecimal, and a tag may mean a property that has an element of its own: all forms
// lead to one slot, as in a real mailbox.
#pragma once

#include "property_table.hpp"

#include <pugixml.hpp>

#include <string>
#include <string_view>

namespace stand_in {

/// Slot of the property that a t:ExtendedFieldURI names.
/// Throws ItemError (ErrorInvalidExtendedProperty) where Exchange refuses the combination.
SlotId slot_of_path(pugi::xml_node extended_field_uri);

/// Writes attributes that name `id` as an extended property; false when it has no such name.
bool write_path(pugi::xml_node extended_field_uri, SlotId id);

/// The value as stored, checked against its PropertyType.
/// Throws ItemError (ErrorInvalidExtendedPropertyValue).
std::string read_extended_value(pugi::xml_node extended_property);

/// Adds t:ExtendedProperty with `path`'s attributes and the value to an item.
/// `as_guid` names distinguished property sets by their GUID, as some servers answer.
void write_extended(pugi::xml_node item, pugi::xml_node path, std::string_view value,
                    bool as_guid = false);

}  // namespace stand_in
