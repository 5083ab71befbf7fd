// Bytes that are too many to stand among other values. What stands there describes them, so that
// shadows, comparisons and histories hold a line; the bytes travel apart, and only when they are
// to be written somewhere.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace crmsync::record {

// Base64, as both sides take it; null: not at hand.
using Content = std::shared_ptr<const std::string>;

// "image/jpeg, 10240 bytes, sha256 HEX". What was not read has no digest.
struct Description {
    std::string_view kind;  // "unknown": no picture that everybody can show
    std::size_t size = 0;
    std::string_view digest;
};

inline constexpr std::string_view unknown_kind = "unknown";

// Instead of the kind there may be the first bytes, in hexadecimal digits. nullopt: it is no
// description.
std::optional<Description> read_description(std::string_view text);

std::string write_description(const Description& description);

// Of bytes in base64, which may have white space in it; nullopt: it is no base64.
std::optional<std::string> describe(std::string_view base64);

}  // namespace crmsync::record
