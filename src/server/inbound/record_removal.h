// What a user deletes in his mailbox is deleted in the CRM (on_target_delete delete): once the
// guard lets it, and only where the record is that mailbox's alone. Else somebody has to decide.
#pragma once

#include "server/configuration/configuration.h"

namespace crmsync {

// A transaction of its own. Returns whether there was anything to do.
bool remove_records(const Configuration& configuration, const LinkConfiguration& link);

}  // namespace crmsync
