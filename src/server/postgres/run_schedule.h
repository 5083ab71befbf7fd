// Starts short-lived workers: one for each run of a link that is due, one at a time per link. What
// may take long (an import, a comparison) runs there, so that the resident worker waits for none.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "server/postgres/boundary.h"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace crmsync {

class RunSchedule {
  public:
    // function: the entry point of such a worker, which finds its link by run_link(). kind: what
    // pg_stat_activity calls it. Both are literals.
    RunSchedule(const char* function, const char* kind) : function_(function), kind_(kind) {}

    // Starts a run of this link, for what was asked for, unless one is under way. False when there
    // is no free worker slot.
    bool start(int link, std::int64_t request = 0);

    bool running(int link);

    // Whether the last run of this link was for another request, or began some time ago. What ends
    // a run before it can say when it should be tried again ends the next one, too.
    bool rested(int link, std::int64_t request = 0) const;

  private:
    using Clock = std::chrono::steady_clock;

    const char* function_;
    const char* kind_;
    std::map<int, BackgroundWorkerHandle*> runs_;
    struct Start {
        Clock::time_point at;
        std::int64_t request;
    };
    std::map<int, Start> started_;
};

// In such a worker: the link that it runs for.
int run_link() noexcept;

// In such a worker, which gave way to whoever drops or updates the extension: if it is of a version
// that this engine does not serve, the worker's state says so.
void note_version();

// In such a worker: whether no other of this kind is at work for its link, and none will be until
// this one ends. Who has started the others may be gone. It is a lock that SQL cannot take, as it
// could an advisory one: who may connect cannot keep runs away.
bool take_run_lock(std::int32_t kind);

}  // namespace crmsync
