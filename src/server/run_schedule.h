// Starts short-lived workers: one for each run of a link that is due, one at a time per link. What
// may take long (an import, a comparison) runs there, so that the resident worker waits for none.
#pragma once

#include <chrono>
#include <map>

#include "server/boundary.h"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace crmsync {

class RunSchedule {
  public:
    // function: the entry point of such a worker, which finds its link by run_link(). kind: what
    // pg_stat_activity calls it. Both are literals.
    RunSchedule(const char* function, const char* kind) : function_(function), kind_(kind) {}

    // Starts a run of this link unless one is under way. False when there is no free worker slot.
    bool start(int link);

    bool running(int link);

    // Whether the last run of this link began some time ago.
    bool rested(int link) const;

  private:
    using Clock = std::chrono::steady_clock;

    const char* function_;
    const char* kind_;
    std::map<int, BackgroundWorkerHandle*> runs_;
    std::map<int, Clock::time_point> started_;
};

// In such a worker: the link that it runs for.
int run_link() noexcept;

}  // namespace crmsync
