// How long the key of a record, and the address of a mailbox, may be as text.
#pragma once

#include <cstddef>

namespace crmsync {

// What links promise to carry: it must fit into a stamp. A record with a longer key fails.
constexpr std::size_t longest_key = 200;

// What our tables hold, so that it can be said of such a record, too: an index has no room for more
// than some 2700 bytes. Records with longer keys are only counted. The trigger knows the same
// limit.
constexpr std::size_t longest_kept_key = 1000;

// 64 for the local part, 255 for the domain (RFC 5321): what is longer is no address.
constexpr std::size_t longest_address = 320;

}  // namespace crmsync
