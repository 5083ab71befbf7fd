// What crmsync.so (preloaded, in every backend) hands to crmsync_engine.so (workers and admin
// functions only): a versioned struct behind the rendezvous variable "crmsync". Plain C layout: an
// engine of the next release must be able to read the struct of a preloaded library that was not
// restarted yet, so members are only ever added at the end, with a new version number, and one that
// says since which version it is there is used only where the struct is of that version.
#pragma once

#include "postgres.h"

#include "datatype/timestamp.h"

#define CRMSYNC_RENDEZVOUS "crmsync"
#define CRMSYNC_INTERFACE_VERSION 4
#define CRMSYNC_OLDEST_INTERFACE_VERSION 2  // that the engine can work with

// One long pass of a worker, as the view `progress` shows it.
typedef struct CrmsyncProgress {
    int32 link;  // 0: the slot is free
    int32 pid;
    char phase[32];
    int64 done;
    int64 total;  // 0: not known yet
    TimestampTz started;
} CrmsyncProgress;

typedef struct CrmsyncPreload {
    uint32 version;

    // Settings, read through these at use so that a reload takes effect.
    bool (*enabled)(void);
    const char* (*environment)(void);  // setting, or the machine's id when empty
    const char* (*secret_directory)(void);
    const char* (*allowed_hosts)(void);
    int (*fail_guarded_call)(void);  // developer setting: the n-th guarded call fails; 0 = none

    // The resident worker of this database: registers MyLatch so that commits wake it, until it
    // exits (released by itself in before_shmem_exit). Returns false when another worker has it.
    bool (*attach_worker)(void);

    // Sets the latch of this database's worker. True when there is one.
    bool (*wake_worker)(void);

    // sync() asks for links to be looked at now, also those that have no change: their ids are kept
    // in shared memory until the worker takes them. take_requests returns how many were copied
    // (at most capacity), and when the last of them was asked for; -1 means that too many were:
    // look at every link.
    void (*request_sync)(int32 link);
    int (*take_requests)(int32* links, int capacity, TimestampTz* asked);

    // Progress slots of this database, one per process and link. done < 0 frees the caller's slot
    // for that link, link = 0 all slots of the caller; they are also freed when it exits.
    void (*set_progress)(int32 link, const char* phase, int64 done, int64 total);
    int (*get_progress)(CrmsyncProgress* slots, int capacity);

    // Which of the two change logs writers append to now (0 or 1), and switching it. Not durable:
    // readers always read both.
    int (*active_log)(void);
    void (*set_active_log)(int which);

    int64 (*max_log_size)(void);  // bytes
    // Milliseconds; 0 = none: in the resident worker, and in a worker for one run of one link.
    int (*query_timeout)(void);
    int (*long_query_timeout)(void);

    // True once after wake_worker, whatever has become of the latch: to wait for a lock resets it.
    bool (*take_wakeup)(void);

    int64 (*max_history_size)(void);  // bytes
    int (*max_create_delay)(void);    // milliseconds

    // Since version 3. Whether somebody keeps workers out of a database now: one that has just been
    // started may not have been told to end.
    bool (*is_held)(Oid database);

    // Since version 4. This process, the resident worker or a run, does nothing until the extension
    // is updated; the resident worker is woken by no commit before attach_worker.
    void (*await_update)(void);
} CrmsyncPreload;
