// Child rows of the CRM, written as the link's owner: changed where they are there, inserted where
// they are not, and deleted when nothing that is mapped is left in them. Which row is meant is
// found out for all of them before the first is written, since positions count what is there.
//
// Only rows that are to be written are taken, since what a user has changed in Outlook seldom is in
// one of them: they must still hold what they held when that was decided.
#pragma once

#include <string>
#include <vector>

#include "server/crm/row_writer.h"

namespace crmsync {

// Takes all child rows of these records for this transaction. Returns those of the records of whose
// rows nobody else has one at the moment.
pg::TextArray lock_children(const LinkConfiguration& link, pg::TextArray records);

// Takes the child rows that write_children would write, for this transaction. Throws pg::Error,
// with ERRCODE_LOCK_NOT_AVAILABLE where somebody else has one at the moment, or has changed it.
void take_children(const LinkConfiguration& link, const std::vector<const RowChange*>& changes);

// Writes those fields of the changes that are columns of child rows. Throws pg::Error where one
// cannot be written.
void write_children(const LinkConfiguration& link, const std::vector<const RowChange*>& changes);

}  // namespace crmsync
