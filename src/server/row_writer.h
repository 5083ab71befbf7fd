// Writes what came in to the CRM's rows, as the link's owner: one statement for all rows of which
// the same columns change. Where some rows are refused the others are written all the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/configuration.h"
#include "server/query.h"

namespace crmsync {

// The fields of one record that changed, with the values that held_values() gives.
struct RowChange {
    std::string record;
    record::Fields fields;
};

// Takes the rows of these records for this transaction; those that somebody else has at the moment
// are not among the keys returned, nor is what is not there. A view's rows cannot be taken: all are
// returned.
std::vector<std::string> lock_rows(const LinkConfiguration& link, const pg::TextArray& records);

// In the current transaction. Returns why records could not be written, by record.
std::map<std::string, pg::Error> write_rows(const LinkConfiguration& link,
                                            const std::vector<RowChange>& changes);

}  // namespace crmsync
