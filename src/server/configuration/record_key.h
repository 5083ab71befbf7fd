// How long the key of a record, and the address of a mailbox, may be as text.
#pragma once

#include <cstddef>

#include "record/record.h"

namespace crmsync {

// What links promise to carry: it must fit into a stamp. A record with a longer key fails.
constexpr std::size_t longest_key = 200;

// What our tables hold, so that it can be said of such a record, too. Records with longer keys are
// only counted.
using record::longest_kept_key;

// 64 for the local part, 255 for the domain (RFC 5321): what is longer is no address.
constexpr std::size_t longest_address = 320;

}  // namespace crmsync
