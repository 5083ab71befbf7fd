#include "server/state/folder_pages.h"

#include <set>

#include "server/postgres/array_rows.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

using Pages = std::vector<const sync::FolderPage*>;

struct Changes {
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::TextArray change_keys;
    pg::IntegerArray gone;

    void add(const sync::FolderPage& page) {
        for (const exchange::FolderChange& change : page.changes) {
            mailboxes.push_back(page.mailbox);
            ids.push_back(change.item.id);
            change_keys.push_back(change.item.change_key);
            gone.push_back(change.gone ? 1 : 0);
        }
    }
};

// An item that bears the change key that we know is as we wrote it. What users change in mailboxes
// that are only written is nobody's matter, save that it is gone, or may be of a record that has
// none there. One that comes again is tried again at once, whatever was in its way.
void note_arrivals(const Pages& pages) {
    Changes changes;
    for (const sync::FolderPage* page : pages) {
        changes.add(*page);
    }
    if (changes.ids.empty()) {
        return;
    }
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id) SELECT m.id, u.id "
        "FROM " +
            array_rows({{"mailbox", "integer"},
                        {"id", "text"},
                        {"change_key", "text"},
                        {"gone", "integer"}}) +
            "JOIN crmsync.mailbox m ON m.id = u.mailbox "
            "JOIN crmsync.link l ON l.id = m.link "
            "LEFT JOIN LATERAL (SELECT t.mailbox, t.state, t.change_key FROM crmsync.item t "
            "WHERE t.mailbox = u.mailbox AND t.remote_id = u.id "
            "AND pg_catalog.hashtext(t.remote_id) = pg_catalog.hashtext(u.id) OFFSET 0) AS i ON "
            "true "
            "WHERE CASE WHEN u.gone = 1 THEN i.state IN ('linked', 'leaving', 'unlinked') "
            "OR EXISTS (SELECT FROM crmsync.arrival o "
            "WHERE o.mailbox = u.mailbox AND o.remote_id = u.id) "
            "OR EXISTS (SELECT FROM crmsync.conflict c WHERE c.mailbox = u.mailbox "
            "AND c.item = u.id AND c.kind = 'ambiguous') "
            "WHEN l.direction = 'outbound' THEN i.mailbox IS NULL AND l.match_on <> '{}' "
            "ELSE i.change_key IS DISTINCT FROM u.change_key END FOR KEY SHARE OF m "
            "ON CONFLICT (mailbox, remote_id) DO UPDATE SET version = a.version + 1, "
            "code = NULL, message = NULL, attempts = 0, next_attempt = NULL, created = NULL, "
            "original = NULL, "
            "original_attempt = NULL",
        &changes.mailboxes, &changes.ids, &changes.change_keys, &changes.gone);
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

void note_listed(const sync::FolderPage& page) {
    Changes changes;
    changes.add(page);
    pg::query(
        "INSERT INTO crmsync.listed (mailbox, remote_id) SELECT m.id, u.id "
        "FROM unnest($2::text[], $3::integer[]) AS u(id, gone) "
        "JOIN crmsync.mailbox m ON m.id = $1 WHERE u.gone = 0 ON CONFLICT DO NOTHING",
        page.mailbox, &changes.ids, &changes.gone);
}

// What the whole list did not name is looked at, not taken for deleted: the list may be wrong.
void end_listing(int mailbox) {
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id) SELECT i.mailbox, i.remote_id "
        "FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox "
        "WHERE i.mailbox = $1 AND i.state IN ('linked', 'unlinked') AND i.remote_id IS NOT NULL "
        "AND i.since < m.listing AND NOT EXISTS (SELECT FROM crmsync.listed l "
        "WHERE l.mailbox = i.mailbox AND l.remote_id = i.remote_id) FOR KEY SHARE OF m "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET version = a.version + 1",
        mailbox);
    pg::query("DELETE FROM crmsync.listed WHERE mailbox = $1", mailbox);
    pg::query("UPDATE crmsync.mailbox SET listing = NULL WHERE id = $1", mailbox);
}

void write_states(const Pages& pages) {
    pg::IntegerArray mailboxes;
    pg::TextArray states;
    for (const sync::FolderPage* page : pages) {
        mailboxes.push_back(page->mailbox);
        states.push_back(page->state);
    }
    pg::query(
        "UPDATE crmsync.mailbox m SET sync_state = nullif(u.state, '') "
        "FROM unnest($1::integer[], $2::text[]) AS u(mailbox, state) WHERE m.id = u.mailbox",
        &mailboxes, &states);
}

// Of different mailboxes.
void write_at_once(const Pages& pages, const std::set<int>& listing) {
    Pages changed;
    for (const sync::FolderPage* page : pages) {
        const bool whole = page->from_start || listing.contains(page->mailbox);
        if (page->from_start) {
            begin_listing(page->mailbox);
        }
        // Of an unchanged folder nothing is written: the state of before says the same.
        if (whole || !page->complete || !page->changes.empty()) {
            changed.push_back(page);
        }
    }
    if (changed.empty()) {
        return;
    }
    note_arrivals(changed);
    for (const sync::FolderPage* page : changed) {
        if (page->from_start || listing.contains(page->mailbox)) {
            note_listed(*page);
            if (page->complete) {
                end_listing(page->mailbox);
            }
        }
    }
    write_states(changed);
}

}  // namespace

void write_pages(const std::vector<sync::FolderPage>& pages) {
    if (pages.empty()) {
        return;
    }
    const std::set<int> listing = being_listed(pages);
    std::set<int> mailboxes;
    Pages together;
    for (const sync::FolderPage& page : pages) {
        if (!page.listed) {
            continue;
        }
        if (!mailboxes.insert(page.mailbox).second) {
            write_at_once(together, listing);
            together.clear();
            mailboxes = {page.mailbox};
        }
        together.push_back(&page);
    }
    write_at_once(together, listing);
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
