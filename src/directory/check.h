// Tries a directory step by step, for check_target: what an administrator wants to know is which
// step fails first, and what to do about it.
#pragma once

#include <string>
#include <vector>

#include "directory/connection.h"

namespace crmsync::directory {

struct Step {
    std::string name;  // DNS, TCP, TLS, authentication, server, base, entries
    bool ok;
    std::string detail;
    std::string hint;
};

// base and filter come from a link, if there is one; an empty base means the server's first naming
// context. Ends with the first step that fails; throws Error only when asked to stop.
std::vector<Step> check(const Server& server, const std::string& base, const std::string& filter,
                        const ShouldStop& should_stop);

}  // namespace crmsync::directory
