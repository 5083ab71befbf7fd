// Writes what came in to the CRM's rows and their child rows, as the link's owner: one statement
// for all rows of which the same columns change. Where some records are refused the others are
// written all the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "record/content.h"
#include "server/configuration/configuration.h"
#include "server/configuration/desired_record.h"
#include "server/postgres/query.h"

namespace crmsync {

// The fields of one record that changed, with the values that held_values() gives.
struct RowChange {
    std::string record;
    record::Fields fields;
    // For each of the link's children, the one whose row gets its fields; empty: each its own.
    std::vector<std::size_t> child_rows;
    std::string mailbox;        // where they come from, for a link's own function
    record::Values before;      // what the CRM had, parallel to the layout; empty: it is not known
    record::Content content{};  // of the photo among the fields
    OwnTexts texts{};           // of what the CRM had
    bool restores = false;      // values that the CRM has had itself, and not those of an item
};

// Takes the rows of these records for this transaction; those that somebody else has at the moment
// are not among the keys returned, nor is what is not there. Those of a view that groups or unites
// rows, or may lack one of those that it joins, cannot be taken: all are returned.
std::vector<std::string> lock_rows(const LinkConfiguration& link, const pg::TextArray& records);

// In the current transaction. Returns why records could not be written, by record;
// ERRCODE_LOCK_NOT_AVAILABLE: not now.
std::map<std::string, pg::Error> write_rows(const LinkConfiguration& link,
                                            const std::vector<RowChange>& changes);

}  // namespace crmsync
