// What there is to do, asked of our own tables in one short transaction before each pass.
#pragma once

#include <string>
#include <vector>

#include "server/configuration.h"

namespace crmsync {

struct TargetHealth {
    std::string target;
    int attempts;
    bool troubled;  // it failed last time
    bool stopped;   // and is not to be tried until somebody says so
};

struct Survey {
    std::string fingerprint;      // of the configuration
    std::vector<int> busy_links;  // Exchange links that have something to do
    std::vector<int> due_runs;    // LDAP links that are due
    std::vector<TargetHealth> targets;
};

// retries: also put records whose pause is over back into `pending`.
Survey take_survey(bool retries);

// Notes that a link could not be worked on, and when it is tried again; or that it can again.
void note_link_error(int link, const pg::Error& error);
void note_link_error(int link, const std::string& broken, const std::string& message);
void note_link_works(int link);

}  // namespace crmsync
