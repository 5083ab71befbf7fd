// What a transaction of this backend changed, from the first captured row to its end: markers are
// gathered, appended to the change log just before commit or prepare, and after commit the worker
// is woken.
#pragma once

#include "preload/compatibility.h"

namespace crmsync {

// Remembers that a record of a capture changed. schema: where the change log lives.
// value, length: the record's key, or nullptr and a negative length: everything changed.
void mark_change(Oid schema, int32 capture, const char* value, int32 length);

// Wakes the worker after this transaction's commit, as a change of a record does.
void wake_at_commit();

void register_transaction_callbacks();

}  // namespace crmsync
