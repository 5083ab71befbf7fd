// Which items outcomes are about: records, mailboxes and ids of items, as parameters $1, $2 and $3
// of statements.
#pragma once

#include <string>
#include <vector>

#include "server/postgres/query.h"
#include "sync/task.h"

namespace crmsync {

struct Pairs {
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;  // empty: not known

    explicit Pairs(const std::vector<const sync::Outcome*>& outcomes = {}) {
        for (const sync::Outcome* outcome : outcomes) {
            add(*outcome);
        }
    }
    void add(const sync::Outcome& outcome) {
        records.push_back(outcome.record);
        mailboxes.push_back(outcome.mailbox);
        ids.push_back(outcome.item.id);
    }
    bool empty() const { return records.empty(); }
};

// With their link from the same place, so that the whole key of an item comes from there: it is
// then looked up by all of it, whatever the statistics say.
inline const std::string of_pairs =
    "(SELECT m.link, p.record, p.mailbox, p.id FROM unnest($1::text[], $2::integer[], "
    "$3::text[]) AS p(record, mailbox, id) "
    "JOIN crmsync.mailbox m ON m.id = p.mailbox OFFSET 0) AS u ";

// A copy bears the name of its record, too, and is not its item.
inline const std::string is_that_item =
    "i.link = u.link AND i.record = u.record AND i.mailbox = u.mailbox "
    "AND (u.id = '' OR i.remote_id IS NULL OR i.remote_id = u.id) ";

}  // namespace crmsync
