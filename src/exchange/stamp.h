// The stamp: the value of our named property that says whose copy an item is,
// instance/link/key with '/' and '%' in the parts percent-encoded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace crmsync::exchange {

struct Stamp {
    std::string instance;  // the instance of crmsync.identity, without dashes
    std::string link;
    std::string key;
};

// Control characters and blanks are encoded too: XML cannot carry the ones, and Exchange may trim
// the others.
std::string stamp_text(const Stamp& stamp);

// nullopt: not a stamp of ours, which are written in one way only.
std::optional<Stamp> read_stamp(std::string_view text);

}  // namespace crmsync::exchange
