#include "preload/shared_state.h"

namespace crmsync {

namespace {

SharedState* shared = nullptr;
shmem_request_hook_type previous_request = nullptr;
shmem_startup_hook_type previous_startup = nullptr;

const char tranche[] = "crmsync";

void request() {
    if (previous_request != nullptr)
        previous_request();
    RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
    RequestNamedLWLockTranche(tranche, 1);
}

void startup() {
    if (previous_startup != nullptr)
        previous_startup();
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    bool found;
    shared = static_cast<SharedState*>(ShmemInitStruct("crmsync", sizeof(SharedState), &found));
    if (!found) {
        memset(static_cast<void*>(shared), 0, sizeof(SharedState));
        shared->lock = &GetNamedLWLockTranche(tranche)->lock;
    }
    LWLockRelease(AddinShmemInitLock);
}

DatabaseSlot* my_slot() {
    static DatabaseSlot* mine = nullptr;
    if (mine == nullptr || mine->database.load() != MyDatabaseId)
        mine = find_slot(MyDatabaseId);
    return mine;
}

void set_latch(const Atomic<Latch*>& latch) {
    if (Latch* target = latch.load())
        SetLatch(target);
}

}  // namespace

SharedState* shared_state() {
    return shared;
}

void install_shared_memory_hooks() {
    previous_request = shmem_request_hook;
    shmem_request_hook = request;
    previous_startup = shmem_startup_hook;
    shmem_startup_hook = startup;
}

DatabaseSlot* find_slot(Oid database) {
    if (shared == nullptr || !OidIsValid(database))
        return nullptr;
    for (DatabaseSlot& slot : shared->slots)
        if (slot.database.load() == database)
            return &slot;
    return nullptr;
}

DatabaseSlot* claim_slot(Oid database) {
    if (DatabaseSlot* slot = find_slot(database))
        return slot;
    DatabaseSlot* slot = nullptr;
    for (DatabaseSlot& candidate : shared->slots)
        if (slot == nullptr && candidate.database.load() == InvalidOid)
            slot = &candidate;
    if (slot == nullptr)
        return nullptr;
    memset(static_cast<void*>(slot), 0, sizeof(DatabaseSlot));
    slot->database.store(database);
    return slot;
}

int active_log() {
    const DatabaseSlot* slot = my_slot();
    return slot == nullptr ? 0 : slot->active_log.load();
}

void set_active_log(int which) {
    if (DatabaseSlot* slot = my_slot())
        slot->active_log.store(which == 0 ? 0 : 1);
}

bool wake_worker() {
    DatabaseSlot* slot = my_slot();
    if (slot == nullptr || slot->latch.load() == nullptr)
        return false;
    // What was committed is seen by whoever takes it after this, and by whoever takes it before,
    // too.
    pg_memory_barrier();
    if (!slot->woken.load())
        slot->woken.store(true);
    set_latch(slot->latch);
    return true;
}

bool take_wakeup() {
    DatabaseSlot* slot = my_slot();
    return slot != nullptr && slot->woken.exchange(false);
}

void wake_launcher() {
    if (shared != nullptr)
        set_latch(shared->launcher);
}

}  // namespace crmsync
