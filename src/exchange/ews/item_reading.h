// What an answer says of an item, and which properties to ask for so that it does.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/operation.h"

namespace crmsync::exchange::ews {

// The additional properties to ask for, so that read_values finds the layout's values, and read_key
// what the user-defined field holds. Empty: there is none.
void add_shape(pugi::xml_node operation, const record::Layout& layout,
               const std::string& key_property, bool with_folder);

// The values of the answer, and which could not be read.
void read_values(pugi::xml_node item, const record::Layout& layout, ItemAnswer& answer);

// The attachments that are the contact's photo; more than one where something went wrong.
std::vector<Attachment> read_photos(pugi::xml_node item);

// The key that another program has left in a user-defined field; empty: none.
std::string read_key(pugi::xml_node item, std::string_view key_property);

// When something happened to the item, by the server's clock; nullopt: it does not say.
std::optional<std::chrono::sys_seconds> read_moment(pugi::xml_node item, const char* name);

std::vector<std::string> read_categories(pugi::xml_node item);

// Whether its user keeps the item to himself.
bool read_private(pugi::xml_node item);

// Our stamp on the item; empty when it has none.
std::string read_stamp_of(pugi::xml_node item);

// The attempt that made it; 0: the item does not say.
std::int64_t read_attempt_of(pugi::xml_node item);

}  // namespace crmsync::exchange::ews
