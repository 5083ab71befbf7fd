// Which items are as the last run left them.
#pragma once

#include <cstdint>
#include <vector>

#include "server/postgres/query.h"

namespace crmsync {

// Linked items that were seen. As many items with the same hashes are the same items, each seen
// once: that another one has vanished while one was seen twice would show in the hashes.
struct SeenItems {
    std::int64_t count = 0;
    std::int64_t hashes = 0;  // of their remote ids, combined by XOR
};

// For each key whether a linked item of the mailbox has it as its remote id, with this change key.
// Adds those that are linked, whatever their change key, to what was seen. In the current
// transaction.
std::vector<bool> find_unchanged_items(int mailbox, const pg::TextArray& keys,
                                       const pg::TextArray& change_keys, SeenItems& seen);

// Whether these are all linked items of the mailbox. In the current transaction.
bool are_all_items(int mailbox, const SeenItems& seen);

}  // namespace crmsync
