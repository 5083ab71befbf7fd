// What every background worker of the engine begins with.
#pragma once

#include <chrono>
#include <optional>

#include "server/postgres/boundary.h"

namespace crmsync {

// Connects to a database; the first thing in a worker's main, outside pg::enter().
void connect_worker(Datum database);

// The same in a worker for one run, of which nobody knows before it has connected: it ends here
// where somebody keeps workers out, or has switched crmsync off.
void connect_run(Datum database);

// What every statement of this process goes by, whatever the database or its roles are set to.
// lock_timeout: as in SQL.
void configure_session(const char* lock_timeout);

// For as long as it lives, statements wait no longer than this for a lock. Made and gone outside of
// transactions.
class LockTimeout {
  public:
    explicit LockTimeout(std::chrono::milliseconds longest);
    LockTimeout(const LockTimeout&) = delete;
    LockTimeout& operator=(const LockTimeout&) = delete;
    ~LockTimeout();

  private:
    int before_;
};

// In a transaction, until its end or end(): statements wait no longer than this for a lock, or,
// where its holders are known to let it go soon (nullopt), as long as configure_session() says.
class LocalLockTimeout {
  public:
    explicit LocalLockTimeout(std::optional<std::chrono::milliseconds> longest);
    LocalLockTimeout(const LocalLockTimeout&) = delete;
    LocalLockTimeout& operator=(const LocalLockTimeout&) = delete;

    // Not in a destructor: after an error the end of the transaction does the same.
    void end() const;

  private:
    int before_;
};

// Of a process that only ever looks up a few rows of our tables: their indexes are used, even where
// a table was empty when it was last analyzed. The queries of owners are planned as usual.
void prefer_indexes();

// Does nothing for so long; a termination ends the process in here.
void rest(std::chrono::milliseconds pause);

}  // namespace crmsync
