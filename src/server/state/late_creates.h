// A server may carry out a create that nobody waits for any more: its worker was killed, or its
// answer came too late. By then the item may not have been found and have been made again, and is
// there twice, both with the stamp of the record. So each item says which attempt made it, and
// whether another one was in doubt then. A copy that its user makes says the same as the original;
// an item of another attempt is ours, and goes, unless its user has changed it meanwhile.
//
// A delete may come late, too: of an item that is wanted again by then. It is not its user who
// deletes it, and it is made again.
//
// Where an answer was lost, and where something is created, or wanted again, soon after a worker
// has begun, the stamps are listed once more when no such request can be under way any longer
// (crmsync.max_create_delay).
#pragma once

#include <cstdint>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"
#include "sync/task.h"

namespace crmsync {

// crmsync.max_create_delay, in the microseconds of attempts.
std::int64_t longest_delay();

// Whether of two attempts one may have been made again as the other, which was in doubt then.
bool is_late(std::int64_t attempt, std::int64_t other);

// Of properties that are not compared a shadow knows more than the server.
record::Layout compared_of(const record::Layout& layout);
record::Values values_of(const record::Layout& wanted, const record::Layout& layout,
                         const record::Values& values);

// Whether an item that was fetched has all values of a shadow, and nothing that could not be read;
// of none nothing does.
bool holds_the_same(const LinkConfiguration& link, const Jsonb* shadow, const sync::Outcome& item);

// Whether nobody has changed an item since it was made. same: it holds what the other one does.
bool is_untouched(const sync::Outcome& item, bool same);

// Notes, in the current transaction, that these folders are to be listed once more.
void look_again_later(const std::vector<int>& mailboxes);

}  // namespace crmsync
