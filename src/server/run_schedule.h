// Starts a short-lived worker for each LDAP run that is due, one at a time per link.
#pragma once

#include <map>

#include "server/boundary.h"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace crmsync {

class DirectorySchedule {
  public:
    // Starts a run of this link unless one is under way. False when there is no free worker slot.
    bool start(int link);

    bool running(int link);

  private:
    std::map<int, BackgroundWorkerHandle*> runs_;
};

}  // namespace crmsync
