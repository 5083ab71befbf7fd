// Conflicts of fields that somebody has decided against the policy: the CRM gets the other side's
// value, and everybody else has it from there.
#pragma once

#include "server/configuration/configuration.h"

namespace crmsync {

// A transaction of its own. Returns whether there was anything to do.
bool resolve_fields(const Configuration& configuration, const LinkConfiguration& link);

}  // namespace crmsync
