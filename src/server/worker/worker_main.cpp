// The process of the resident worker: from its start to the end of the extension, and what becomes
// of errors that concern no single link.
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "server/postgres/log.h"
#include "server/postgres/preload.h"
#include "server/postgres/session.h"
#include "server/postgres/transaction.h"
#include "server/worker/worker.h"

extern "C" {
#include "storage/ipc.h"
}

namespace crmsync {

namespace {

using namespace std::chrono_literals;

// Request and answer bodies come and go: giving their memory back to the system each time and
// taking it again costs more than to handle it.
void keep_freed_memory() {
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    mallopt(M_TOP_PAD, 1 << 20);
}

// What has to be ended when the process does: exit() destroys what its thread uses.
Worker* running = nullptr;

void stop_running(int code, Datum) {
    if (running != nullptr && !running->stop()) {
        _exit(code);  // nothing of PostgreSQL's is left to be done
    }
}

class Running {
  public:
    explicit Running(Worker& worker) {
        running = &worker;
        pg::guard([] { on_proc_exit(stop_running, Datum{0}); });
    }
    ~Running() { running = nullptr; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
};

// Another session was in the way, or the disk is full: what was not recorded yet is still in memory
// and is recorded when it goes again.
bool passes_by_itself(const pg::Error& error) {
    return error.code().starts_with("40") || error.code().starts_with("53") ||
           error.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
           error.sqlstate == ERRCODE_FOREIGN_KEY_VIOLATION;
}

// An update of the libraries needs no restart, and what they find in a database may be older: its
// tables are not touched before.
void wait_for_update() {
    bool told = false;
    for (;;) {
        const auto version = pg::extension_version();
        if (!version || pg::serves(*version)) {
            return;
        }
        if (!std::exchange(told, true)) {
            pg::log(LOG, "crmsync is of version " + *version +
                             " in this database and its library of " CRMSYNC_VERSION
                             ": the worker waits for ALTER EXTENSION crmsync UPDATE");
            if (preload().version >= 4) {
                preload().await_update();
            }
        }
        rest(1s);
    }
}

void work_until_gone() {
    // A lock on a CRM table that somebody holds for long must not stop every other link.
    configure_session("1s");
    prefer_indexes();
    keep_freed_memory();
    wait_for_update();
    if (!pg::extension_version() || !preload().attach_worker()) {
        return;
    }
    Worker worker;
    const Running end_with_process(worker);
    std::chrono::steady_clock::time_point last_trouble{};
    for (;;) {
        try {
            worker.run();
        } catch (const pg::ExtensionBusy&) {
            rest(100ms);
            if (!pg::extension_version()) {
                return;
            }
        } catch (const pg::Error& error) {
            if (!passes_by_itself(error)) {
                throw;
            }
            const auto now = std::chrono::steady_clock::now();
            const auto since = now - std::exchange(last_trouble, now);
            if (since > 1min) {
                pg::log(LOG, "the worker has to try again: " + error.message);
            }
            rest(since < 5s ? 1000ms : 100ms);
        }
    }
}

}  // namespace

}  // namespace crmsync

extern "C" PGDLLEXPORT void crmsync_worker_main(Datum database);

void crmsync_worker_main(Datum database) {
    crmsync::connect_worker(database);
    crmsync::pg::enter(crmsync::work_until_gone);
}
