// Makes rows of the CRM of items that users made in their mailboxes, as the link's owner. Where
// some are refused the others are made all the same.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "record/content.h"
#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

struct NewRow {
    std::string mailbox;        // address
    record::Values values;      // parallel to the link's layout, as held_values() gives them
    record::Content content{};  // of the photo among them
    bool is_empty = false;      // its item has nothing of its own: all of them stand in
};

struct MadeRow {
    std::string record;  // the key
    std::optional<pg::Error> error;
};

// In the current transaction. Returns what became of each, in the same order. A row whose audience
// would not name its mailbox is refused: its item would be brought in again and again.
// ERRCODE_LOCK_NOT_AVAILABLE: not now.
std::vector<MadeRow> make_rows(const LinkConfiguration& link, const std::vector<NewRow>& rows);

}  // namespace crmsync
