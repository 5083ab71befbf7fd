// A target as it was configured: where its server is and how to speak to it.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "net/client.h"

namespace crmsync {

struct TargetConfiguration {
    std::string name;
    std::string kind;
    bool paused = false;
    bool impersonation = true;
    std::string server_version;
    std::shared_ptr<const net::Endpoint> endpoint;
    std::string problem;  // why it cannot be used: a secret file that is missing, say
};

// A target as configured, also for check_target. Throws pg::UserError when there is none.
TargetConfiguration read_target(const std::string& name);

// All of them, by name. One that makes no sense has a problem.
std::map<std::string, TargetConfiguration> read_targets();

}  // namespace crmsync
