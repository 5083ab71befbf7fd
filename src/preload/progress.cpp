#include "preload/progress.h"

#include <signal.h>

#include "preload/shared_state.h"

namespace crmsync {

namespace {

bool is_alive(const CrmsyncProgress& entry) {
    return kill(entry.pid, 0) == 0 || errno == EPERM;
}

// Needs the lock. The caller's entry for a link, else nullptr.
CrmsyncProgress* find_entry(DatabaseSlot* slot, int32 link) {
    for (CrmsyncProgress& entry : slot->progress)
        if (entry.link == link && entry.pid == MyProcPid)
            return &entry;
    return nullptr;
}

CrmsyncProgress* take_entry(DatabaseSlot* slot, int32 link) {
    for (CrmsyncProgress& entry : slot->progress) {
        if (entry.link != 0 && is_alive(entry))
            continue;
        entry = {};
        entry.link = link;
        entry.pid = MyProcPid;
        entry.started = GetCurrentTimestamp();
        return &entry;
    }
    return nullptr;
}

void free_entries(int, Datum) {
    SharedStateLock lock(LW_EXCLUSIVE);
    for (DatabaseSlot& slot : shared_state()->slots)
        for (CrmsyncProgress& entry : slot.progress)
            if (entry.pid == MyProcPid)
                entry = {};
}

void free_at_exit() {
    static bool registered = false;
    if (!registered)
        before_shmem_exit(free_entries, 0);
    registered = true;
}

}  // namespace

void request_sync(int32 link) {
    DatabaseSlot* slot = find_slot(MyDatabaseId);
    if (slot == nullptr)
        return;
    {
        SharedStateLock lock(LW_EXCLUSIVE);
        bool known = slot->request_count < 0;
        for (int i = 0; i < slot->request_count && !known; i++)
            known = slot->requests[i] == link;
        if (!known && slot->request_count == request_capacity)
            slot->request_count = -1;
        else if (!known)
            slot->requests[slot->request_count++] = link;
        slot->requested_at = GetCurrentTimestamp();
    }
    wake_worker();
}

int take_requests(int32* links, int capacity, TimestampTz* asked) {
    DatabaseSlot* slot = find_slot(MyDatabaseId);
    if (slot == nullptr)
        return 0;
    SharedStateLock lock(LW_EXCLUSIVE);
    int count = slot->request_count;
    if (count > capacity)
        count = -1;
    for (int i = 0; i < count; i++)
        links[i] = slot->requests[i];
    *asked = slot->requested_at;
    slot->request_count = 0;
    return count;
}

// link 0 frees all of the caller's entries; done below 0 only the one of that link.
void set_progress(int32 link, const char* phase, int64 done, int64 total) {
    DatabaseSlot* slot = find_slot(MyDatabaseId);
    if (slot == nullptr)
        return;
    if (link == 0) {
        free_entries(0, 0);
        return;
    }
    free_at_exit();
    SharedStateLock lock(LW_EXCLUSIVE);
    CrmsyncProgress* entry = find_entry(slot, link);
    if (done < 0) {
        if (entry != nullptr)
            *entry = {};
        return;
    }
    if (entry == nullptr)
        entry = take_entry(slot, link);
    if (entry == nullptr)
        return;
    strlcpy(entry->phase, phase == nullptr ? "" : phase, sizeof(entry->phase));
    entry->done = done;
    entry->total = total;
}

int get_progress(CrmsyncProgress* entries, int capacity) {
    const DatabaseSlot* slot = find_slot(MyDatabaseId);
    if (slot == nullptr)
        return 0;
    SharedStateLock lock(LW_SHARED);
    int count = 0;
    for (const CrmsyncProgress& entry : slot->progress)
        if (entry.link != 0 && count < capacity && is_alive(entry))
            entries[count++] = entry;
    return count;
}

}  // namespace crmsync
