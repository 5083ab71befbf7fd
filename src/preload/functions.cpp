// The SQL functions of crmsync.so, but for the triggers.
#include "preload/compatibility.h"
#include "preload/progress.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "preload/transaction.h"

namespace crmsync {

namespace {

const char* describe_worker() {
    if (!preloaded())
        return "not preloaded";
    if (!enabled())
        return "disabled";
    SharedStateLock lock(LW_SHARED);
    const DatabaseSlot* slot = find_slot(MyDatabaseId);
    if (slot == nullptr)
        return "stopped";
    switch (slot->state) {
        case WorkerState::starting:
            return "starting";
        case WorkerState::running:
            return slot->outdated ? "waiting for ALTER EXTENSION UPDATE" : "running";
        case WorkerState::waiting_after_failure:
            return "waiting after a failure";
        case WorkerState::waiting_for_slot:
            return "waiting for a worker slot";
        case WorkerState::stopped:
            break;
    }
    return "stopped";
}

void put_progress(ReturnSetInfo* result, const CrmsyncProgress& entry) {
    const bool has_total = entry.total > 0;
    Datum values[] = {Int32GetDatum(entry.link),        Int32GetDatum(entry.pid),
                      CStringGetTextDatum(entry.phase), Int64GetDatum(entry.done),
                      Int64GetDatum(entry.total),       TimestampTzGetDatum(entry.started)};
    bool nulls[] = {false, false, false, false, !has_total, false};
    tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

}  // namespace crmsync

extern "C" {

PG_FUNCTION_INFO_V1(crmsync_caller);
PGDLLEXPORT Datum crmsync_caller(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    // The worker reading as a link's owner, REFRESH MATERIALIZED VIEW, an index expression: what
    // runs is somebody else's code, and the outermost role is not the one that wants this.
    if (InSecurityRestrictedOperation())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("crmsync cannot be called by code that runs for somebody else"),
                        errdetail("A link's queries, materialized views and index expressions "
                                  "run with restricted rights.")));
    // A cascading delete runs the triggers of somebody else's table in the session of whoever
    // deletes.
    if (DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, Datum(0))) > 0)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("crmsync cannot be called by a trigger"),
                        errdetail("It may run in the session of somebody who has other rights.")));
    PG_RETURN_OID(GetOuterUserId());
}

PG_FUNCTION_INFO_V1(crmsync_wake);
PGDLLEXPORT Datum crmsync_wake(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    crmsync::wake_at_commit();
    PG_RETURN_BOOL(crmsync::wake_worker());
}

PG_FUNCTION_INFO_V1(crmsync_request_sync);
PGDLLEXPORT Datum crmsync_request_sync(PG_FUNCTION_ARGS) {
    crmsync::request_sync(PG_GETARG_INT32(0));
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crmsync_worker_progress);
PGDLLEXPORT Datum crmsync_worker_progress(PG_FUNCTION_ARGS) {
    InitMaterializedSRF(fcinfo, 0);
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    CrmsyncProgress entries[crmsync::progress_capacity];
    const int count = crmsync::get_progress(entries, crmsync::progress_capacity);
    for (int i = 0; i < count; i++)
        crmsync::put_progress(result, entries[i]);
    return Datum{0};
}

PG_FUNCTION_INFO_V1(crmsync_preloaded);
PGDLLEXPORT Datum crmsync_preloaded(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_BOOL(crmsync::preloaded());
}

PG_FUNCTION_INFO_V1(crmsync_worker_state);
PGDLLEXPORT Datum crmsync_worker_state(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(crmsync::describe_worker()));
}
}
