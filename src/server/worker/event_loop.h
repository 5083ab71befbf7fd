// Waits for whatever may concern the worker: its latch (a commit, a signal, somebody's request),
// the network, the death of the postmaster, or a point in time.
#pragma once

#include <chrono>
#include <optional>

#include "server/postgres/boundary.h"

struct WaitEventSet;

namespace crmsync {

class EventLoop {
  public:
    // descriptor: becomes readable when the network has something; it is watched beside the latch.
    explicit EventLoop(int descriptor);

    enum class Woken { by_latch, by_network, by_time };

    // Resets the latch when that woke it, reads the configuration files again when asked to by
    // SIGHUP, and processes PostgreSQL's signals.
    Woken wait(std::optional<std::chrono::milliseconds> longest);

    // True once after the configuration files were read again.
    bool take_reloaded();

  private:
    WaitEventSet* events_;
    bool reloaded_ = false;
};

}  // namespace crmsync
