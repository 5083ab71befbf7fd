// Child rows of the CRM, written as the link's owner: changed where they are there, inserted where
// they are not, and deleted when nothing that is mapped is left in them. Which row is meant is
// found out for all of them before the first is written, since positions count what is there.
#pragma once

#include <string>
#include <vector>

#include "server/row_writer.h"

namespace crmsync {

// Takes all child rows of these records for this transaction. Returns those of the records of whose
// rows nobody else has one at the moment.
pg::TextArray lock_children(const LinkConfiguration& link, pg::TextArray records);

// Writes those fields of the changes that are columns of child rows. Throws pg::Error where one
// cannot be written.
void write_children(const LinkConfiguration& link, const std::vector<const RowChange*>& changes);

}  // namespace crmsync
