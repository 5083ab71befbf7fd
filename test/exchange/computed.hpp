// Properties that the server answers from what it knows about an item: ids, times, rights.
#pragma once

#include "mailbox.hpp"

#include <pugixml.hpp>

#include <string_view>

namespace stand_in {

/// Appends the element of a Kind::computed row to an item; nothing where it has no value.
void write_computed(pugi::xml_node to, std::string_view element, const Mailbox& mailbox,
                    const Folder& folder, const Item& item);

}  // namespace stand_in
