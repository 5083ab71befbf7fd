// What the readers of all answers have in common.
#pragma once

#include <optional>
#include <pugixml.hpp>
#include <string_view>

#include "exchange/operation.h"

namespace crmsync::exchange::ews {

Answer failed(Failure failure);

// The answer is of no use. write: the request may have been carried out.
Answer broken(std::string_view code, std::string_view words, bool write);

Failure no_usable_id(bool write);

// In a create, and in what concerns no item, nothing but the folder can be missing.
void blame_folder(Failure& failure);

// The message of an operation that has no items: what would be the item's failure is the request's.
std::optional<Failure> request_failure(pugi::xml_node message, bool write);

bool usable_id(std::string_view id);

// The id and change key of an item; nullopt: the server sent none that can be kept.
std::optional<ItemReference> read_reference(pugi::xml_node item);

pugi::xml_node first_element(pugi::xml_node parent);

}  // namespace crmsync::exchange::ews
