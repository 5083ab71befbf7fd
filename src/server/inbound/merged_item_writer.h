// What is remembered of items that have come in, in the current transaction.
#pragma once

#include <vector>

#include "server/inbound/item_merge.h"

namespace crmsync {

// Their shadows and change keys. Those of which nothing was known before are known from here on,
// though not stamped.
void write_merged_items(int link, const std::vector<MergedItem>& items);

}  // namespace crmsync
