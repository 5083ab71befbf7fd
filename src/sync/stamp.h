// The stamp that every item of ours bears: instance/link/key. It tells whose copy of which record
// an item is, also after a crash, a lost answer or a restore. How it is written down is
// exchange/stamp.h's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace crmsync::sync {

// With an empty key: how all stamps of this link begin, and no others.
std::string make_stamp(std::string_view instance, std::string_view link, std::string_view key);

// With this key, and otherwise as the prefix says, which is that of a link.
std::string stamp_of(std::string_view prefix, std::string_view key);

// The key in a stamp that begins like this; nullopt for any other. A user can write what he likes
// into the property: it is a key only if our tables can hold it.
std::optional<std::string> key_of_stamp(std::string_view stamp, std::string_view prefix);

}  // namespace crmsync::sync
