// The rows of crmsync.item, as what came of tasks makes them: written, met, removed, left to their
// users, or away. In the current transaction; the outcomes are of mailboxes that are locked.
#pragma once

#include <map>
#include <vector>

#include "sync/task.h"

namespace crmsync {

// The links of mailboxes, by id.
using LinkOfMailbox = std::map<int, int>;

// SQL for the origin of an item of which nothing was known, with u.adopted 1 where a user made it.
inline constexpr const char* origin_of_new_item =
    "CASE WHEN u.adopted = 1 THEN 'adopted' ELSE 'crm' END ";

// SQL for whether what is met in the mailbox m as an item of u.record is no one that undo has made
// again and has not heard of yet: that is its user's.
inline constexpr const char* is_not_undone =
    "NOT EXISTS (SELECT FROM crmsync.undoing o WHERE o.link = m.link AND o.step = 'create' "
    "AND o.mailbox = m.id AND o.record = u.record) ";

// SQL for the state of an item that is away in the mailbox, by the policy of its link l.
inline constexpr const char* state_of_missing_item =
    "CASE l.on_target_delete WHEN 'unlink' THEN 'gone' WHEN 'delete' THEN 'removed' "
    "ELSE 'absent' END ";

void write_items(const std::vector<const sync::Outcome*>& written, const LinkOfMailbox& link_of);
void write_found(const std::vector<const sync::Outcome*>& found);

// Items that were met under another id than was known of them have that one from now on, and are
// not copies of themselves.
void note_moved(const std::vector<const sync::Outcome*>& outcomes);

void remove_items(const std::vector<const sync::Outcome*>& removed);
void unlink_items(const std::vector<const sync::Outcome*>& unlinked);
void mark_gone(const std::vector<const sync::Outcome*>& vanished);

}  // namespace crmsync
