// Compares a whole link, set-based and without the network: who should have what, and who has it.
#pragma once

#include "server/configuration.h"

namespace crmsync {

// Carries out the comparison that link_state asks for, if any, in the current transaction: what is
// to be looked at goes into `pending`, items that nobody should have any more become `leaving`.
// Returns true when there was one. Throws pg::Error, also for what the owner's queries raise.
bool compare_if_due(const LinkConfiguration& link);

}  // namespace crmsync
