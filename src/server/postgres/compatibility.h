// What differs between the releases of PostgreSQL that the engine is built for. No other file asks
// for a version.
#pragma once

#include "server/postgres/boundary.h"

extern "C" {
#include "access/transam.h"
#include "commands/tablecmds.h"
#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
}

namespace crmsync {

// How many transactions that had an id have ended on this server since it was started; at least
// those that the latest snapshot of this process sees.
inline uint64 ended_transactions() {
#if PG_VERSION_NUM >= 170000
    return TransamVariables->xactCompletionCount;
#else
    return ShmemVariableCache->xactCompletionCount;
#endif
}

// For the life of the process.
inline WaitEventSet* create_wait_event_set(int events) {
#if PG_VERSION_NUM >= 170000
    return CreateWaitEventSet(nullptr, events);
#else
    return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

// TRUNCATE of relations that the caller has opened and locked, without the record of it that a
// publication would send on.
inline void truncate_unpublished(List* relations, List* ids) {
#if PG_VERSION_NUM >= 160000
    ExecuteTruncateGuts(relations, ids, NIL, DROP_RESTRICT, false, false);
#else
    ExecuteTruncateGuts(relations, ids, NIL, DROP_RESTRICT, false);
#endif
}

}  // namespace crmsync
