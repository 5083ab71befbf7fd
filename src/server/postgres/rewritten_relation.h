// What was written anew, or made, is empty to a snapshot of before, also where it was locked by who
// did that and is read only when he has committed.
#pragma once

namespace crmsync::pg {

// Whether the current transaction, which sees the same snapshot all the time, has read such a
// relation, in whatever view, function or partition: what it has not found may be there.
bool has_read_rewritten_relation();

}  // namespace crmsync::pg
