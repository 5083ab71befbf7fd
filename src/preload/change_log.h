// Appending to the change log, straight into the heap: no SPI, no rights of the writer, no index
// and no TOAST to maintain.
#pragma once

#include "preload/compatibility.h"
#include "preload/marker_buffer.h"

namespace crmsync {

// Appends the markers, in the current transaction, to the log that is active now; the lock on it
// is held until the transaction ends, so that a marker is never truncated away before it is
// visible. When the log exceeds crmsync.max_log_size, one marker per capture stands for all.
//
// schema: where change_log_0 and change_log_1 live. When they are gone, because the extension is
// being dropped, nothing is appended: the same drop takes the triggers, and nobody reads any more.
// Errors: object_not_in_prerequisite_state when a log has an index, TOAST or another shape.
// False: nothing was appended.
bool append_to_change_log(Oid schema, const MarkerBuffer& markers);

}  // namespace crmsync
