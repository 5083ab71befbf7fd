// Which items outcomes are about: records in mailboxes, as parameters $1 and $2 of statements.
#pragma once

#include <string>
#include <vector>

#include "server/query.h"
#include "sync/task.h"

namespace crmsync {

struct Pairs {
    pg::TextArray records;
    pg::IntegerArray mailboxes;

    explicit Pairs(const std::vector<const sync::Outcome*>& outcomes = {}) {
        for (const sync::Outcome* outcome : outcomes) {
            add(*outcome);
        }
    }
    void add(const sync::Outcome& outcome) {
        records.push_back(outcome.record);
        mailboxes.push_back(outcome.mailbox);
    }
    bool empty() const { return records.empty(); }
};

// With their link from the same place, so that the whole key of an item comes from there: it is
// then looked up by all of it, whatever the statistics say.
inline const std::string of_pairs =
    "(SELECT m.link, p.record, p.mailbox FROM unnest($1::text[], $2::integer[]) AS p(record, "
    "mailbox) "
    "JOIN crmsync.mailbox m ON m.id = p.mailbox OFFSET 0) AS u ";

}  // namespace crmsync
