// The stamp that every item of ours bears: instance/link/key. It tells whose copy of which record
// an item is, also after a crash, a lost answer or a restore.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace crmsync::sync {

// '/' and '%' within a part are percent-encoded, so that the parts can be told apart.
std::string make_stamp(std::string_view instance, std::string_view link, std::string_view key);

// The key in a stamp of this instance and link; nullopt for any other.
std::optional<std::string> key_of_stamp(std::string_view stamp, std::string_view instance,
                                        std::string_view link);

// The text of one encoded part; nullopt when it is not one.
std::optional<std::string> decode_stamp_part(std::string_view part);

}  // namespace crmsync::sync
