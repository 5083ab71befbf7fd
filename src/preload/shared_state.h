// What crmsync keeps in shared memory: one slot per database that has a resident worker, or may
// have one. Nothing durable lives here; a crash of the server starts it afresh.
//
// The members that every commit reads (database, latch, active_log) are read without a lock: a slot
// that changed hands meanwhile costs a superfluous wake-up at most. Everything else is under the
// one lock, held for a few instructions and never across something that can raise an error.
#pragma once

#include "preload/compatibility.h"
#include "preload/interface.h"

namespace crmsync {

// One word that is read and written whole without a lock: what was stored before it is seen after
// it.
template <typename T>
class Atomic {
  public:
    T load() const { return __atomic_load_n(&value_, __ATOMIC_ACQUIRE); }
    void store(T value) { __atomic_store_n(&value_, value, __ATOMIC_RELEASE); }
    T exchange(T value) { return __atomic_exchange_n(&value_, value, __ATOMIC_SEQ_CST); }

  private:
    T value_;
};

constexpr int slot_count = 64;
constexpr int request_capacity = 64;
constexpr int progress_capacity = 16;

// How the last worker of a database ended.
enum class Ending { none, clean, failed };

// What the launcher last did about a database, for the view status.
enum class WorkerState { stopped, starting, running, waiting_after_failure, waiting_for_slot };

struct DatabaseSlot {
    Atomic<Oid> database;  // InvalidOid: the slot is free
    Atomic<Latch*> latch;  // of the attached worker, nullptr when there is none
    Atomic<int> active_log;
    Atomic<bool> woken;  // since take_wakeup; a worker that waits for a lock loses its latch

    pid_t worker;         // the worker's process, 0: none
    bool attached;        // the worker found the extension
    bool outdated;        // which is older than the worker, who waits
    bool stop_requested;  // somebody told the worker to end
    bool probe;           // the extension may have appeared: look at once
    int holds;            // statements under way that no worker may stand in the way of
    Ending ending;
    WorkerState state;

    int request_count;  // -1: more than fit, all links
    int32 requests[request_capacity];
    TimestampTz requested_at;  // the last of them
    CrmsyncProgress progress[progress_capacity];
};

struct SharedState {
    LWLock* lock;
    Atomic<Latch*> launcher;
    bool scan;  // the list of databases may have changed
    DatabaseSlot slots[slot_count];
};

// nullptr when crmsync was not preloaded.
SharedState* shared_state();
inline bool preloaded() {
    return shared_state() != nullptr;
}

// Sets the hooks by which the postmaster allocates it; only while libraries are preloaded.
void install_shared_memory_hooks();

// Holds the lock for a scope in which no error can be raised.
class SharedStateLock {
  public:
    explicit SharedStateLock(LWLockMode mode) { LWLockAcquire(shared_state()->lock, mode); }
    ~SharedStateLock() { LWLockRelease(shared_state()->lock); }
    SharedStateLock(const SharedStateLock&) = delete;
    SharedStateLock& operator=(const SharedStateLock&) = delete;
};

// The slot of a database, or nullptr; needs no lock.
DatabaseSlot* find_slot(Oid database);
// Finds or takes one; nullptr when all are taken. Needs the lock, exclusive.
DatabaseSlot* claim_slot(Oid database);

// Which of the two change logs of this database writers append to: 0 or 1.
int active_log();
void set_active_log(int which);

// Sets the latch of this database's worker. While a worker leaves its latch set this costs a read
// and no system call: one that is busy should reset it only when it looks at the log again.
bool wake_worker();
bool take_wakeup();
void wake_launcher();

}  // namespace crmsync
