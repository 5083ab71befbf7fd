// How far long passes are, and links that sync() asks for: small notes between the backends and
// workers of a database, in its slot.
#pragma once

#include "preload/compatibility.h"
#include "preload/interface.h"

namespace crmsync {

// Documented in interface.h.
void request_sync(int32 link);
int take_requests(int32* links, int capacity, TimestampTz* asked);
void set_progress(int32 link, const char* phase, int64 done, int64 total);
int get_progress(CrmsyncProgress* slots, int capacity);

}  // namespace crmsync
