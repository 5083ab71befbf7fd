// What differs between the releases of PostgreSQL that the engine is built for. No other file asks
// for a version.
#pragma once

#include "server/boundary.h"

extern "C" {
#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
}

namespace crmsync {

// For the life of the process.
inline WaitEventSet* create_wait_event_set(int events) {
#if PG_VERSION_NUM >= 170000
    return CreateWaitEventSet(nullptr, events);
#else
    return CreateWaitEventSet(TopMemoryContext, events);
#endif
}

}  // namespace crmsync
