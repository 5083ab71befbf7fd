// PostgreSQL's headers for crmsync.so, and the only place that knows what differs between server
// versions 15 to 18. The server's headers are C: they are included here once, with the warnings
// that C++ has about them switched off.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wregister"

// Version 15 leaves this empty; with hidden visibility the server would not find our functions.
#ifndef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/logicalworker.h"
#include "replication/origin.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/xid8.h"
}

// Of a database that DROP DATABASE has left halfway; servers before 15.4 have no name for it.
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

#pragma GCC diagnostic pop

#if PG_VERSION_NUM < 150000
#error "crmsync needs PostgreSQL 15 or later"
#endif

namespace crmsync {

// PostgreSQL 16 replaced the ownership check of each object class by a common one.
inline bool owns_database(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(DatabaseRelationId, database, role);
#else
    return pg_database_ownercheck(database, role);
#endif
}

inline bool owns_extension(Oid extension, Oid role) {
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(ExtensionRelationId, extension, role);
#else
    return pg_extension_ownercheck(extension, role);
#endif
}

// Status of the index-th backend, from 1 to pgstat_fetch_stat_numbackends().
inline const PgBackendStatus* backend_status(int index) {
#if PG_VERSION_NUM >= 160000
    LocalPgBackendStatus* entry = pgstat_get_local_beentry_by_index(index);
#else
    LocalPgBackendStatus* entry = pgstat_fetch_stat_local_beentry(index);
#endif
    return entry == nullptr ? nullptr : &entry->backendStatus;
}

// The name under which pg_stat_activity shows a wait; custom names came with version 17.
inline uint32 wait_event(uint32* cached, const char* name) {
#if PG_VERSION_NUM >= 170000
    if (*cached == 0)
        *cached = WaitEventExtensionNew(name);
    return *cached;
#else
    (void)cached;
    (void)name;
    return PG_WAIT_EXTENSION;
#endif
}

// Virtual generated columns, which version 18 brought, are computed when they are read; triggers
// see NULL in their place.
inline bool is_computed_when_read(TupleDesc columns, AttrNumber column) {
#if PG_VERSION_NUM >= 180000
    return TupleDescAttr(columns, column - 1)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
#else
    (void)columns;
    (void)column;
    return false;
#endif
}

// Whether this process applies what a publication sends, PostgreSQL's own way or another.
inline bool applies_replication() {
    return IsLogicalWorker() || replorigin_session_origin != InvalidRepOriginId;
}

// The columns from which such a column is computed, numbered as pull_varattnos does; none for
// every other column.
inline Bitmapset* computed_from(TupleDesc columns, AttrNumber column) {
    Bitmapset* read = nullptr;
#if PG_VERSION_NUM >= 180000
    if (is_computed_when_read(columns, column))
        pull_varattnos(TupleDescGetDefault(columns, column), 1, &read);
#else
    (void)columns;
    (void)column;
#endif
    return read;
}

}  // namespace crmsync
