#include "preload/worker.h"

#include <signal.h>

#include "preload/shared_state.h"

namespace crmsync {

namespace {

constexpr int longest_wait = 5000;  // ms; after that the statement itself says who is in the way
constexpr int poll_interval = 10;   // ms

constexpr int hold_capacity = 8;
Oid held[hold_capacity];
int held_count = 0;
bool probe_wanted = false;
bool scan_wanted = false;

// Takes the slot for this process. False: held, told to end since it was registered, or another
// worker is there.
bool enter(Oid database) {
    SharedStateLock lock(LW_EXCLUSIVE);
    DatabaseSlot* slot = claim_slot(database);
    if (slot == nullptr)
        return false;
    if (slot->holds > 0) {
        slot->stop_requested = true;  // whoever holds it may not have come to say so
        return false;
    }
    if (slot->worker == MyProcPid)
        return true;
    if (slot->stop_requested || worker_is_alive(*slot))
        return false;
    slot->worker = MyProcPid;
    slot->attached = false;
    slot->outdated = false;
    slot->ending = Ending::none;
    return true;
}

void leave(int code, Datum database) {
    {
        SharedStateLock lock(LW_EXCLUSIVE);
        DatabaseSlot* slot = find_slot(DatumGetObjectId(database));
        if (slot == nullptr || slot->worker != MyProcPid)
            return;
        slot->latch.store(nullptr);
        slot->ending = code == 0 ? Ending::clean : Ending::failed;
        slot->worker = 0;
    }
    wake_launcher();
}

bool is_our_worker(const PgBackendStatus* backend) {
    if (backend == nullptr || backend->st_procpid <= 0 || backend->st_backendType != B_BG_WORKER ||
        !OidIsValid(backend->st_databaseid))
        return false;
    const char* type = GetBackgroundWorkerTypeByPid(backend->st_procpid);
    return type != nullptr && strncmp(type, "crmsync ", strlen("crmsync ")) == 0;
}

// Sends SIGTERM to the workers connected to a database (InvalidOid: to any); returns how many.
int terminate_connected(Oid database) {
    int count = 0;
    pgstat_clear_backend_activity_snapshot();
    const int backends = pgstat_fetch_stat_numbackends();
    for (int i = 1; i <= backends; i++) {
        const PgBackendStatus* backend = backend_status(i);
        if (!is_our_worker(backend) || backend->st_procpid == MyProcPid ||
            (OidIsValid(database) && backend->st_databaseid != database))
            continue;
        kill(backend->st_procpid, SIGTERM);
        count++;
    }
    return count;
}

// The resident worker may not be connected yet, and then only its slot knows of it. One that has
// only been registered ends as soon as it looks there.
bool terminate_resident(DatabaseSlot* slot) {
    SharedStateLock lock(LW_EXCLUSIVE);
    if (slot->worker == MyProcPid)
        return false;
    slot->stop_requested = true;
    if (!worker_is_alive(*slot)) {
        slot->worker = 0;
        return false;
    }
    kill(slot->worker, SIGTERM);
    return true;
}

bool terminate_all(Oid database, DatabaseSlot* slot) {
    const bool resident = slot != nullptr && terminate_resident(slot);
    return terminate_connected(database) > 0 || resident;
}

void release_holds() {
    if (held_count == 0)
        return;
    {
        SharedStateLock lock(LW_EXCLUSIVE);
        for (int i = 0; i < held_count; i++)
            if (DatabaseSlot* slot = find_slot(held[i]))
                slot->holds = Max(slot->holds - 1, 0);
        shared_state()->scan = true;
    }
    held_count = 0;
    wake_launcher();
}

void tell_launcher() {
    if (!probe_wanted && !scan_wanted)
        return;
    {
        SharedStateLock lock(LW_EXCLUSIVE);
        shared_state()->scan = true;
        if (probe_wanted)
            if (DatabaseSlot* slot = claim_slot(MyDatabaseId))
                slot->probe = true;
    }
    wake_launcher();
}

void tell_at_commit(XactEvent event, void*) {
    if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
        return;
    if (event != XACT_EVENT_ABORT)
        tell_launcher();
    probe_wanted = false;
    scan_wanted = false;
    release_holds();
}

}  // namespace

bool worker_is_alive(const DatabaseSlot& slot) {
    return slot.worker != 0 && (kill(slot.worker, 0) == 0 || errno == EPERM);
}

bool attach_worker() {
    if (!preloaded())
        return false;
    DatabaseSlot* slot = find_slot(MyDatabaseId);
    const bool entered = slot != nullptr && slot->worker == MyProcPid;
    if (!enter(MyDatabaseId))
        return false;
    if (!entered)
        before_shmem_exit(leave, ObjectIdGetDatum(MyDatabaseId));
    slot = find_slot(MyDatabaseId);
    slot->attached = true;
    slot->outdated = false;
    slot->latch.store(MyLatch);
    wake_launcher();
    return true;
}

void await_update() {
    {
        SharedStateLock lock(LW_EXCLUSIVE);
        DatabaseSlot* slot = find_slot(MyDatabaseId);
        if (slot == nullptr)
            return;
        slot->attached |= slot->worker == MyProcPid;
        slot->outdated = true;
    }
    wake_launcher();
}

void hold_workers(Oid database) {
    if (!preloaded() || held_count == hold_capacity)
        return;
    DatabaseSlot* slot;
    {
        SharedStateLock lock(LW_EXCLUSIVE);
        slot = claim_slot(database);
        if (slot != nullptr) {
            slot->holds++;
            held[held_count++] = database;
        }
    }
    static uint32 event = 0;
    for (int waited = 0; terminate_all(database, slot) && waited < longest_wait;
         waited += poll_interval) {
        WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, poll_interval,
                  wait_event(&event, "CrmsyncWorkerStop"));
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

bool is_held(Oid database) {
    if (!preloaded())
        return false;
    SharedStateLock lock(LW_SHARED);
    const DatabaseSlot* slot = find_slot(database);
    return slot != nullptr && slot->holds > 0;
}

bool lacks_worker(Oid database) {
    if (!preloaded())
        return false;
    SharedStateLock lock(LW_SHARED);
    const DatabaseSlot* slot = find_slot(database);
    return slot == nullptr || slot->state == WorkerState::stopped ||
           slot->state == WorkerState::starting;
}

void stop_workers_of(Oid database) {
    terminate_all(database, find_slot(database));
}

void stop_all_workers() {
    for (DatabaseSlot& slot : shared_state()->slots)
        terminate_resident(&slot);
    terminate_connected(InvalidOid);
}

void probe_at_commit() {
    probe_wanted = preloaded();
}

void scan_databases_at_commit() {
    scan_wanted = preloaded();
}

void register_worker_callbacks() {
    RegisterXactCallback(tell_at_commit, nullptr);
}

}  // namespace crmsync

// Where a resident worker's process begins. The engine is loaded here, in the worker, so that its
// libraries never reach the postmaster and an update of them needs no restart.
extern "C" PGDLLEXPORT void crmsync_resident_main(Datum database) {
    if (!crmsync::enter(DatumGetObjectId(database)))
        proc_exit(0);
    before_shmem_exit(crmsync::leave, database);
    const auto engine = reinterpret_cast<bgworker_main_type>(
        load_external_function("crmsync_engine", "crmsync_worker_main", true, nullptr));
    engine(database);
    proc_exit(0);
}
