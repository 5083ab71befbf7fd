// What there is to do, asked of our own tables in one short transaction before each pass.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/configuration/configuration.h"

namespace crmsync {

struct TargetHealth {
    std::string target;
    int attempts;
    bool troubled;                    // it failed last time
    bool stopped;                     // and is not to be tried until somebody says so
    bool accepted;                    // it has accepted the credentials that it has now
    bool refused;                     // the last time it did not
    std::chrono::milliseconds pause;  // before it is tried again, where it did not
};

struct Survey {
    std::string fingerprint;      // of the configuration
    std::vector<int> busy_links;  // Exchange links for which something is to be done
    std::map<int, std::int64_t> due_comparisons;  // those of which one is due, by which request
    std::vector<int> moving_links;  // those with mailboxes that are, or may be, to move
    std::vector<int> due_runs;      // LDAP links that are due
    std::vector<TargetHealth> targets;
};

// retries: also put records whose pause is over back into `pending`.
Survey take_survey(bool retries);

// Does what operators have asked for, if anything. Returns the addresses of mailboxes that have
// others than before.
std::map<int, std::string> carry_out_requests();

// When the last run of an import began, as PostgreSQL counts time; 0: there was none yet.
std::int64_t last_run(int link);

// A comparison becomes due where what a link reads is defined in another way than before. Returns
// whether there is such a link.
bool compare_redefined();

// Notes that a link could not be worked on, and when it is tried again; `compare`: what was missed
// until somebody acts is to be found then. Returns whether that is news.
bool note_link_error(int link, const pg::Error& error, bool compare);

// Notes, in the current transaction, that a link works again.
void note_link_works(int link);

// The same of its comparisons, which keep it from nothing else when they fail.
bool note_comparison_error(int link, const pg::Error& error);
void note_comparison_works(int link);

// Notes what a link waits for, without keeping it from what else it can do. Returns whether that is
// news.
bool note_link_waits(int link, const std::string& code, const std::string& reason);

}  // namespace crmsync
