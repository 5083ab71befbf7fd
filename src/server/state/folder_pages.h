// What the pages of a mailbox's folder name: items to be looked at, and where to go on reading.
#pragma once

#include <vector>

#include "sync/task.h"

namespace crmsync {

// Notes, in the current transaction, which items somebody else has created, changed or deleted, and
// the sync state that goes with it. Of what was written with an outcome before, nothing is noted.
void write_pages(const std::vector<sync::FolderPage>& pages);

}  // namespace crmsync
