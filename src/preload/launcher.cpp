// It looks at pg_database now and then and whenever somebody says that something changed, and asks
// each database by starting a worker there: a worker that finds no extension ends at once, with
// exit code 0, and is not started again until CREATE EXTENSION, or rarely. One that fails is
// started again after a pause that doubles, or when the configuration is reloaded. Between two
// looks the launcher holds no lock, no snapshot and no transaction. An error ends it; the
// postmaster starts it anew and it adopts the workers that run.
#include "preload/launcher.h"

#include "preload/database_list.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "preload/worker.h"

namespace crmsync {

namespace {

constexpr int restart_seconds = 5;
constexpr int starts_at_once = 4;
constexpr int64 scan_interval = 60 * USECS_PER_SEC;
constexpr int64 probe_interval = 600 * USECS_PER_SEC;
constexpr int64 first_pause = 1 * USECS_PER_SEC;
constexpr int64 longest_pause = 300 * USECS_PER_SEC;
constexpr int64 healthy_after = 60 * USECS_PER_SEC;
constexpr int64 slot_pause = 5 * USECS_PER_SEC;

constinit DatabaseList databases;
bool was_enabled = true;

void set_worker_state(Oid database, WorkerState state) {
    SharedStateLock lock(LW_EXCLUSIVE);
    if (DatabaseSlot* slot = find_slot(database))
        slot->state = state;
}

bool has_worker(const Database& database) {
    return database.state == DatabaseState::starting || database.state == DatabaseState::running ||
           database.state == DatabaseState::stopping;
}

void forget_handle(Database* database) {
    if (database->handle != nullptr)
        pfree(database->handle);
    database->handle = nullptr;
}

// Where there is no worker to be, whoever holds workers back or asks for one takes a slot all the
// same.
bool needs_slot(const DatabaseSlot& slot) {
    if (slot.holds > 0 || worker_is_alive(slot))
        return true;
    for (const Database& database : databases)
        if (database.oid == slot.database.load())
            return slot.probe || database.state != DatabaseState::absent;
    return false;
}

// They are for other databases to take.
void free_unneeded_slots() {
    SharedStateLock lock(LW_EXCLUSIVE);
    for (DatabaseSlot& slot : shared_state()->slots)
        if (OidIsValid(slot.database.load()) && !needs_slot(slot))
            slot.database.store(InvalidOid);
}

void wait_until(Database* database, DatabaseState state, int64 pause) {
    database->state = state;
    database->next = GetCurrentTimestamp() + pause;
}

// ---- starting ----------------------------------------------------------------------------------

BackgroundWorkerHandle* register_worker(const Database& database) {
    BackgroundWorker worker = {};
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_main_arg = ObjectIdGetDatum(database.oid);
    worker.bgw_notify_pid = MyProcPid;
    strlcpy(worker.bgw_library_name, "crmsync", sizeof(worker.bgw_library_name));
    strlcpy(worker.bgw_function_name, "crmsync_resident_main", sizeof(worker.bgw_function_name));
    strlcpy(worker.bgw_type, "crmsync worker", sizeof(worker.bgw_type));
    snprintf(worker.bgw_name, sizeof(worker.bgw_name), "crmsync worker: %s", database.name);

    BackgroundWorkerHandle* handle = nullptr;
    const MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = RegisterDynamicBackgroundWorker(&worker, &handle);
    MemoryContextSwitchTo(previous);
    return registered ? handle : nullptr;
}

enum class Admission { free, held, adopted, no_room };

Admission prepare_slot(Oid database) {
    SharedStateLock lock(LW_EXCLUSIVE);
    DatabaseSlot* slot = claim_slot(database);
    if (slot == nullptr)
        return Admission::no_room;
    if (slot->holds > 0)
        return Admission::held;
    slot->probe = false;
    if (worker_is_alive(*slot))
        return Admission::adopted;
    slot->worker = 0;
    slot->attached = false;
    slot->stop_requested = false;
    slot->ending = Ending::none;
    slot->state = WorkerState::starting;
    return Admission::free;
}

void report_no_room(Database* database) {
    if (!database->warned)
        ereport(WARNING, (errmsg("crmsync cannot work in database \"%s\"", database->name),
                          errdetail("At most %d databases of a server can use it.", slot_count)));
    database->warned = true;
    wait_until(database, DatabaseState::no_slot, scan_interval);
}

void report_no_slot(Database* database) {
    if (!database->warned)
        ereport(WARNING,
                (errmsg("no free worker slot for crmsync in database \"%s\"", database->name),
                 errhint("Increase max_worker_processes. Changes are recorded meanwhile; "
                         "the worker is started as soon as there is a slot.")));
    database->warned = true;
    set_worker_state(database->oid, WorkerState::waiting_for_slot);
    wait_until(database, DatabaseState::no_slot, slot_pause);
}

// The worker outlived the launcher that had started it.
void adopt(Database* database) {
    SharedStateLock lock(LW_SHARED);
    const DatabaseSlot* slot = find_slot(database->oid);
    const bool attached = slot != nullptr && slot->attached;
    database->state = attached ? DatabaseState::running : DatabaseState::starting;
    database->started = GetCurrentTimestamp();
}

void start(Database* database) {
    switch (prepare_slot(database->oid)) {
        case Admission::held:
            wait_until(database, DatabaseState::unknown, 0);  // nothing is due while it is held
            return;
        case Admission::no_room:
            report_no_room(database);
            return;
        case Admission::adopted:
            adopt(database);
            return;
        case Admission::free:
            break;
    }
    database->handle = register_worker(*database);
    if (database->handle == nullptr) {
        report_no_slot(database);
        return;
    }
    database->state = DatabaseState::starting;
    database->started = GetCurrentTimestamp();
}

// ---- what became of a worker -------------------------------------------------------------------

struct Observation {
    bool alive;
    bool attached;
    bool stop_requested;
    Ending ending;
};

Observation observe(const Database& database) {
    Observation seen = {};
    if (database.handle != nullptr) {
        pid_t pid;
        seen.alive = GetBackgroundWorkerPid(database.handle, &pid) != BGWH_STOPPED;
    }
    SharedStateLock lock(LW_SHARED);
    if (const DatabaseSlot* slot = find_slot(database.oid)) {
        seen.alive = seen.alive || worker_is_alive(*slot);
        seen.attached = slot->attached;
        seen.stop_requested = slot->stop_requested;
        seen.ending = slot->ending;
    }
    return seen;
}

void note_failure(Database* database) {
    if (GetCurrentTimestamp() - database->started >= healthy_after)
        database->failures = 0;
    const int64 pause = Min(first_pause << Min(database->failures, 16), longest_pause);
    database->failures++;
    set_worker_state(database->oid, WorkerState::waiting_after_failure);
    ereport(LOG, (errmsg("crmsync worker for database \"%s\" failed; it is started again in %d s",
                         database->name, static_cast<int>(pause / USECS_PER_SEC))));
    wait_until(database, DatabaseState::failed, pause);
}

void note_end(Database* database, const Observation& seen) {
    forget_handle(database);
    set_worker_state(database->oid, WorkerState::stopped);
    if (seen.stop_requested || !enabled() || !database->listed) {
        if (database->state != DatabaseState::absent && seen.attached)
            ereport(LOG, (errmsg("crmsync worker for database \"%s\" stopped", database->name)));
        wait_until(database, DatabaseState::unknown, 0);
    } else if (seen.ending != Ending::clean) {
        note_failure(database);
    } else if (seen.attached) {
        wait_until(database, DatabaseState::unknown, first_pause);  // dropped, or to start afresh
    } else {
        database->failures = 0;
        wait_until(database, DatabaseState::absent, probe_interval);
    }
}

void note_attached(Database* database) {
    database->state = DatabaseState::running;
    database->warned = false;
    set_worker_state(database->oid, WorkerState::running);
    ereport(LOG, (errmsg("crmsync worker for database \"%s\" started", database->name)));
}

void watch(Database* database) {
    const Observation seen = observe(*database);
    if (database->state == DatabaseState::starting && seen.attached)
        note_attached(database);
    if (!seen.alive)
        note_end(database, seen);
}

// ---- the cycle ---------------------------------------------------------------------------------

bool probe_requested(Oid database) {
    SharedStateLock lock(LW_SHARED);
    const DatabaseSlot* slot = find_slot(database);
    return slot != nullptr && slot->probe;
}

bool is_due(const Database& database, TimestampTz now) {
    if (has_worker(database) || !database.listed || !enabled() || is_held(database.oid))
        return false;
    return database.next <= now || probe_requested(database.oid);
}

// Starts what is due and removes what is gone; returns when the next database is due.
TimestampTz attend(TimestampTz now) {
    int starting = 0;
    for (Database& database : databases) {
        if (has_worker(database))
            watch(&database);
        starting += database.state == DatabaseState::starting;
    }
    free_unneeded_slots();
    TimestampTz next = DT_NOEND;
    for (Database& database : databases) {
        if (is_due(database, now)) {
            if (starting >= starts_at_once)
                continue;  // the end of one of them wakes us
            start(&database);
            starting += database.state == DatabaseState::starting;
        }
        if (!has_worker(database) && database.listed && enabled() && !is_held(database.oid))
            next = Min(next, database.next);
    }
    return next;
}

void remove_unlisted() {
    for (Database* database = databases.begin(); database != databases.end();) {
        if (database->listed) {
            database++;
            continue;
        }
        if (has_worker(*database)) {
            if (database->state != DatabaseState::stopping)
                stop_workers_of(database->oid);
            database->state = DatabaseState::stopping;
            database++;
            continue;
        }
        databases.remove(database);
    }
}

bool scan_requested() {
    SharedStateLock lock(LW_EXCLUSIVE);
    const bool requested = shared_state()->scan;
    shared_state()->scan = false;
    return requested;
}

// What made workers fail may be mended now: they need not wait until their pause is over.
void end_pauses() {
    for (Database& database : databases) {
        if (database.state != DatabaseState::failed)
            continue;
        database.failures = 0;
        database.next = 0;
    }
}

void reload() {
    ProcessConfigFile(PGC_SIGHUP);
    end_pauses();
    if (enabled() == was_enabled)
        return;
    was_enabled = enabled();
    ereport(LOG, (errmsg("crmsync is %s", enabled() ? "enabled" : "disabled")));
    if (!enabled()) {
        stop_all_workers();
        return;
    }
    for (Database& database : databases)
        if (database.state != DatabaseState::absent)
            database.next = 0;
}

void forget_latch(int, Datum) {
    shared_state()->launcher.store(nullptr);
}

int milliseconds_until(TimestampTz due, TimestampTz now) {
    return static_cast<int>(Max(Min((due - now) / 1000 + 1, scan_interval / 1000), int64{0}));
}

[[noreturn]] void run() {
    static uint32 event = 0;
    TimestampTz next_scan = 0;
    was_enabled = enabled();
    // Of one that has ended while crmsync was being switched off.
    if (!enabled())
        stop_all_workers();
    for (;;) {
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            reload();
        }
        TimestampTz now = GetCurrentTimestamp();
        if (scan_requested() || now >= next_scan) {
            databases.read();
            remove_unlisted();
            next_scan = now + scan_interval;
        }
        const TimestampTz next = Min(attend(now), next_scan);
        now = GetCurrentTimestamp();
        WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                  milliseconds_until(next, now), wait_event(&event, "CrmsyncLauncherMain"));
    }
}

}  // namespace

void register_launcher() {
    BackgroundWorker launcher = {};
    launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
    launcher.bgw_restart_time = restart_seconds;
    strlcpy(launcher.bgw_library_name, "crmsync", sizeof(launcher.bgw_library_name));
    strlcpy(launcher.bgw_function_name, "crmsync_launcher_main",
            sizeof(launcher.bgw_function_name));
    strlcpy(launcher.bgw_name, "crmsync launcher", sizeof(launcher.bgw_name));
    strlcpy(launcher.bgw_type, "crmsync launcher", sizeof(launcher.bgw_type));
    RegisterBackgroundWorker(&launcher);
}

}  // namespace crmsync

extern "C" PGDLLEXPORT void crmsync_launcher_main(Datum) {
    pqsignal(SIGTERM, die);
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    before_shmem_exit(crmsync::forget_latch, 0);
    crmsync::shared_state()->launcher.store(MyLatch);
    crmsync::run();
}
