// The content of a mailbox as JSON, and changing it as its user would.
#pragma once

#include "directory.hpp"

#include <nlohmann/json.hpp>

#include <string>

namespace stand_in {

/// Everything in a mailbox: folders, items, every property by its name (see property_name).
nlohmann::json content_of(Mailbox& mailbox);

/// FieldURI, FieldURI/FieldIndex, or SET/NAME-OR-ID for extended properties.
std::string property_name(SlotId id);

/// Carries out {"action": create | update | move | copy | delete, ...} of /control/items.
/// Returns the number of items concerned and their ids. Throws std::invalid_argument.
nlohmann::json act_as_user(Mailbox& mailbox, const nlohmann::json& action);

/// Carries out {"action": "delete", "folder": NAME} of /control/folders: it goes with all that is
/// in it.
nlohmann::json act_on_folder(Mailbox& mailbox, const nlohmann::json& action);

}  // namespace stand_in
