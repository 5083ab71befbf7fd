#include "server/folder_pages.h"

#include <set>

#include "server/query.h"

namespace crmsync {

namespace {

struct Changes {
    pg::TextArray ids;
    pg::TextArray change_keys;
    pg::IntegerArray gone;
};

Changes changes_of(const sync::FolderPage& page) {
    Changes changes;
    for (const exchange::FolderChange& change : page.changes) {
        changes.ids.push_back(change.item.id);
        changes.change_keys.push_back(change.item.change_key);
        changes.gone.push_back(change.gone ? 1 : 0);
    }
    return changes;
}

// An item that bears the change key that we know is as we wrote it. What users change in mailboxes
// that are only written is nobody's matter, save that it is gone, or may be of a record that has
// none there. One that comes again is tried again at once, whatever was in its way.
void note_arrivals(int mailbox, const Changes& changes) {
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id) SELECT m.id, u.id "
        "FROM unnest($2::text[], $3::text[], $4::integer[]) AS u(id, change_key, gone) "
        "JOIN crmsync.mailbox m ON m.id = $1 JOIN crmsync.link l ON l.id = m.link "
        "LEFT JOIN crmsync.item i ON i.mailbox = $1 AND i.remote_id = u.id "
        "AND pg_catalog.hashtext(i.remote_id) = pg_catalog.hashtext(u.id) "
        "WHERE CASE WHEN u.gone = 1 THEN i.state IN ('linked', 'leaving', 'unlinked') "
        "OR EXISTS (SELECT FROM crmsync.arrival o WHERE o.mailbox = $1 AND o.remote_id = u.id) "
        "OR EXISTS (SELECT FROM crmsync.conflict c WHERE c.mailbox = $1 AND c.item = u.id "
        "AND c.kind = 'ambiguous') "
        "WHEN l.direction = 'outbound' THEN i.mailbox IS NULL AND l.match_on <> '{}' "
        "ELSE i.change_key IS DISTINCT FROM u.change_key END "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET code = NULL, message = NULL, "
        "attempts = 0, next_attempt = NULL, created = NULL, copy = false",
        mailbox, &changes.ids, &changes.change_keys, &changes.gone);
}

// Those of the mailboxes whose folder is being read from the start.
std::set<int> being_listed(const std::vector<sync::FolderPage>& pages) {
    pg::IntegerArray mailboxes;
    for (const sync::FolderPage& page : pages) {
        mailboxes.push_back(page.mailbox);
    }
    const pg::Rows rows = pg::query(
        "SELECT id FROM crmsync.mailbox WHERE id = ANY ($1) AND listing IS NOT NULL", &mailboxes);
    std::set<int> listing;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        listing.insert(static_cast<int>(rows.integer(row, 0)));
    }
    return listing;
}

void begin_listing(int mailbox) {
    pg::query("DELETE FROM crmsync.listed WHERE mailbox = $1", mailbox);
    pg::query("UPDATE crmsync.mailbox SET listing = pg_catalog.now() WHERE id = $1", mailbox);
}

void note_listed(int mailbox, const Changes& changes) {
    pg::query(
        "INSERT INTO crmsync.listed (mailbox, remote_id) SELECT m.id, u.id "
        "FROM unnest($2::text[], $3::integer[]) AS u(id, gone) "
        "JOIN crmsync.mailbox m ON m.id = $1 WHERE u.gone = 0 ON CONFLICT DO NOTHING",
        mailbox, &changes.ids, &changes.gone);
}

// What the whole list did not name is looked at, not taken for deleted: the list may be wrong.
void end_listing(int mailbox) {
    pg::query(
        "INSERT INTO crmsync.arrival (mailbox, remote_id) SELECT i.mailbox, i.remote_id "
        "FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox "
        "WHERE i.mailbox = $1 AND i.state IN ('linked', 'unlinked') AND i.remote_id IS NOT NULL "
        "AND i.since < m.listing AND NOT EXISTS (SELECT FROM crmsync.listed l "
        "WHERE l.mailbox = i.mailbox AND l.remote_id = i.remote_id) ON CONFLICT DO NOTHING",
        mailbox);
    pg::query("DELETE FROM crmsync.listed WHERE mailbox = $1", mailbox);
    pg::query("UPDATE crmsync.mailbox SET listing = NULL WHERE id = $1", mailbox);
}

void write_page(const sync::FolderPage& page, bool listing) {
    const Changes changes = changes_of(page);
    if (page.from_start) {
        begin_listing(page.mailbox);
    }
    // Of an unchanged folder nothing is written: the state of before says the same.
    if (changes.ids.empty() && page.complete && !listing) {
        return;
    }
    note_arrivals(page.mailbox, changes);
    if (listing) {
        note_listed(page.mailbox, changes);
        if (page.complete) {
            end_listing(page.mailbox);
        }
    }
    pg::query("UPDATE crmsync.mailbox SET sync_state = $2 WHERE id = $1", page.mailbox,
              std::string_view(page.state));
}

}  // namespace

void write_pages(const std::vector<sync::FolderPage>& pages) {
    if (pages.empty()) {
        return;
    }
    const std::set<int> listing = being_listed(pages);
    for (const sync::FolderPage& page : pages) {
        if (page.listed) {
            write_page(page, page.from_start || listing.contains(page.mailbox));
        }
    }
    pg::IntegerArray complete;
    for (const sync::FolderPage& page : pages) {
        if (page.listed && page.complete) {
            complete.push_back(page.mailbox);
        }
    }
    pg::query(
        "UPDATE crmsync.mailbox SET started_read = true "
        "WHERE id = ANY ($1) AND started IS NOT NULL",
        &complete);
}

}  // namespace crmsync
