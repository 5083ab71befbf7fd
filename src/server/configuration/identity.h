// Which database this is: what tells it from a restored or cloned copy of it.
#pragma once

#include <cstdint>
#include <string>

#include "server/postgres/boundary.h"

namespace crmsync {

struct Identity {
    std::int64_t system_identifier;
    Oid database;
    std::string environment;
};

Identity current_identity();

}  // namespace crmsync
