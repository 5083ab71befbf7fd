// Deletes rows of the CRM, as the link's owner. Where some are refused the others go all the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "record/merge.h"
#include "server/configuration/configuration.h"
#include "server/configuration/desired_record.h"
#include "server/postgres/query.h"

namespace crmsync {

struct RowToDelete {
    std::string record;
    // For a link's own function: whose user has deleted it, and what it holds, parallel to the
    // layout.
    std::string mailbox;
    record::Values values;
    OwnTexts texts;
};

// In the current transaction. Returns why records could not be deleted, by record;
// ERRCODE_LOCK_NOT_AVAILABLE: not now.
std::map<std::string, pg::Error> delete_rows(const LinkConfiguration& link,
                                             const std::vector<RowToDelete>& rows);

}  // namespace crmsync
