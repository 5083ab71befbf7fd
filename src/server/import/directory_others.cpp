#include "server/import/directory_others.h"

#include "server/postgres/query.h"
#include "server/postgres/session.h"

namespace crmsync {

OtherImports OtherImports::read(const DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "SELECT m.id, o.enabled FROM crmsync.link l JOIN crmsync.link o ON o.source = l.source "
        "AND o.key = l.key AND o.id <> l.id AND crmsync.is_import(o) "
        "JOIN crmsync.mailbox m ON m.link = o.id WHERE l.id = $1 AND EXISTS ("
        "SELECT FROM crmsync.mapping_in_force(l.id) a JOIN crmsync.mapping_in_force(o.id) b "
        "ON b.crm = a.crm WHERE a.property = '@enabled' AND b.property = '@enabled')",
        link.id);
    OtherImports others;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        others.mailboxes_.push_back(rows.integer(row, 0));
        if (rows.boolean(row, 1)) {
            others.enabled_.push_back(rows.integer(row, 0));
        }
    }
    return others;
}

// All in one order: two that let go of the same users must not meet in a deadlock. One that is
// merging lets go of its own after each slice.
OtherImports OtherImports::hold(const DirectoryLink& link) {
    OtherImports others = read(link);
    if (others.mailboxes_.empty()) {
        return others;
    }
    const LocalLockTimeout timeout(std::nullopt);
    try {
        pg::query(
            "SELECT FROM crmsync.mailbox WHERE id = ANY ($1::bigint[] || $2::bigint) "
            "ORDER BY id FOR UPDATE",
            &others.mailboxes_, static_cast<std::int64_t>(link.mailbox));
    } catch (const pg::Error& error) {
        if (error.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
            throw Busy{error};
        }
        throw;
    }
    timeout.end();
    return others;
}

// Whoever is missing there as well is theirs to decide on, when their grace time is over.
pg::TextArray OtherImports::without_known(const pg::TextArray& records) const {
    if (enabled_.empty()) {
        return records;
    }
    const pg::Rows rows = pg::query(
        "SELECT r.record FROM unnest($1::text[]) AS r(record) WHERE NOT EXISTS ("
        "SELECT FROM crmsync.mailbox m JOIN crmsync.item i ON i.link = m.link "
        "AND i.mailbox = m.id AND i.record = r.record AND i.state IN ('linked', 'leaving') "
        "WHERE m.id = ANY ($2))",
        &records, &enabled_);
    pg::TextArray unknown;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        unknown.push_back(rows.string(row, 0));
    }
    return unknown;
}

// An item that is gone has a change key for as long as its user has only moved: an empty one is as
// good as any, and is no entry's. Missing there he has been ever since, so that the grace time does
// not begin anew. What a disabled link has let go it leaves: when it comes back, who is meant may
// have been let in again.
void OtherImports::reconsider(const pg::TextArray& records) const {
    if (mailboxes_.empty()) {
        return;
    }
    pg::query(
        "UPDATE crmsync.item i SET change_key = '', "
        "state = CASE i.state WHEN 'gone' THEN 'leaving' ELSE i.state END "
        "FROM crmsync.mailbox m WHERE m.id = ANY ($2) AND i.link = m.link AND i.mailbox = m.id "
        "AND i.record = ANY ($1) AND i.change_key IS NOT NULL "
        "AND (i.state <> 'gone' OR m.id = ANY ($3))",
        &records, &mailboxes_, &enabled_);
}

}  // namespace crmsync
