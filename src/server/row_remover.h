// Deletes rows of the CRM, as the link's owner. Where some are refused the others go all the same.
#pragma once

#include <map>
#include <string>

#include "server/configuration.h"
#include "server/query.h"

namespace crmsync {

// In the current transaction. Returns why records could not be deleted, by record.
std::map<std::string, pg::Error> delete_rows(const LinkConfiguration& link,
                                             const pg::TextArray& records);

}  // namespace crmsync
