// A link's own function, which writes what comes in where crmsync is not to: apply(link, action,
// record, mailbox, old, new, changed). Run as the link's owner, one record a call; it may take as
// long as crmsync.query_timeout says. It returns the key of the record.
#pragma once

#include <string>

#include "server/crm/new_rows.h"
#include "server/crm/row_remover.h"
#include "server/crm/row_writer.h"

namespace crmsync {

// Throws pg::Error when it is gone: that is no record's fault.
void check_function(const LinkConfiguration& link);

// All throw pg::Error: what the function raised, or what is wrong with what it returned or did.
void apply_update(const LinkConfiguration& link, const RowChange& change);
std::string apply_insert(const LinkConfiguration& link, const NewRow& row);
void apply_delete(const LinkConfiguration& link, const RowToDelete& row);

}  // namespace crmsync
