#include "server/postgres/run_schedule.h"

#include <cstdio>
#include <cstring>

#include "server/postgres/preload.h"
#include "server/postgres/transaction.h"

extern "C" {
#include "miscadmin.h"
#include "storage/lock.h"
}

namespace crmsync {

namespace {

constexpr std::chrono::seconds shortest_interval{1};

BackgroundWorkerHandle* launch(const char* function, const char* kind, int link) {
    BackgroundWorker worker;
    std::memset(&worker, 0, sizeof worker);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_notify_pid = MyProcPid;
    worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
    strlcpy(worker.bgw_library_name, "crmsync_engine", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, function, sizeof worker.bgw_function_name);
    strlcpy(worker.bgw_type, kind, sizeof worker.bgw_type);
    snprintf(worker.bgw_name, sizeof worker.bgw_name, "%s: link %d", kind, link);
    const int32 id = link;
    std::memcpy(worker.bgw_extra, &id, sizeof id);
    BackgroundWorkerHandle* handle = nullptr;
    MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = RegisterDynamicBackgroundWorker(&worker, &handle);
    MemoryContextSwitchTo(old);
    return registered ? handle : nullptr;
}

}  // namespace

bool RunSchedule::start(int link, std::int64_t request) {
    if (running(link)) {
        return true;
    }
    BackgroundWorkerHandle* handle = pg::guard([&] { return launch(function_, kind_, link); });
    if (handle == nullptr) {
        return false;
    }
    runs_[link] = handle;
    started_[link] = {Clock::now(), request};
    return true;
}

bool RunSchedule::rested(int link, std::int64_t request) const {
    const auto last = started_.find(link);
    return last == started_.end() || last->second.request != request ||
           Clock::now() - last->second.at >= shortest_interval;
}

bool RunSchedule::running(int link) {
    const auto run = runs_.find(link);
    if (run == runs_.end()) {
        return false;
    }
    BackgroundWorkerHandle* handle = run->second;
    const bool stopped = pg::guard([&] {
        pid_t pid;
        const BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
        return status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED;
    });
    if (stopped) {
        pg::guard([&] { pfree(handle); });
        runs_.erase(run);
    }
    return !stopped;
}

int run_link() noexcept {
    int32 link = 0;
    std::memcpy(&link, MyBgworkerEntry->bgw_extra, sizeof link);
    return link;
}

void note_version() {
    const auto version = pg::extension_version();
    if (version && !pg::serves(*version) && preload().version >= 4) {
        preload().await_update();
    }
}

bool take_run_lock(std::int32_t kind) {
    return pg::guard([&] {
        // What is none of the user's ends with the transaction that fails.
        LOCKTAG tag;
        SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, static_cast<uint32>(kind),
                             static_cast<uint32>(run_link()), 2);
        tag.locktag_type = LOCKTAG_USERLOCK;
        return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
    });
}

}  // namespace crmsync
