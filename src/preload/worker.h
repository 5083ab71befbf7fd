// The resident worker of a database, as everybody but the engine sees it: started by the launcher,
// attached once it has found the extension, asked to end by statements that it would stand in the
// way of.
#pragma once

#include "preload/compatibility.h"

namespace crmsync {

// Says that this process is the resident worker of its database and has found the extension, until
// it exits. False when another process is.
bool attach_worker();

// Says that this process, or a run, found it of a version that it does not serve.
void await_update();

// Is there still a process that holds the slot? Needs the lock, shared at least.
struct DatabaseSlot;
bool worker_is_alive(const DatabaseSlot& slot);

// Keeps workers out of a database until the end of the current transaction: none is started any
// more; the resident one and those of runs are told to end, and are waited for, a few seconds at
// most.
void hold_workers(Oid database);

// Whether somebody does that now.
bool is_held(Oid database);

// Whether a database has no worker, other than for a while after a failure.
bool lacks_worker(Oid database);

// Tells the workers of a database, or of all, to end; waits for none.
void stop_workers_of(Oid database);
void stop_all_workers();

// Has the launcher look, once the current transaction has committed.
void probe_at_commit();           // whether this database has the extension now
void scan_databases_at_commit();  // which databases there are now

void register_worker_callbacks();

}  // namespace crmsync
