#include "server/state/echoes.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "server/postgres/query.h"

namespace crmsync {

namespace {

using Hashes = std::vector<std::uint64_t>;

std::uint64_t hash_of(const std::string& id) {
    return std::hash<std::string>{}(id);
}

// Those that are not among the others, which are sorted.
Hashes without(Hashes hashes, const Hashes& others) {
    std::sort(hashes.begin(), hashes.end());
    hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
    Hashes left;
    std::set_difference(hashes.begin(), hashes.end(), others.begin(), others.end(),
                        std::back_inserter(left));
    return left;
}

// The items there, or only those that no reading may have had to name. An item that is made anew is
// as old as the loss of the one before.
pg::Rows read_items(int mailbox, bool all) {
    return pg::query(
        "SELECT i.remote_id FROM crmsync.mailbox m JOIN crmsync.item i ON i.mailbox = m.id "
        "WHERE m.id = $1 AND i.state = 'linked' AND i.remote_id IS NOT NULL "
        "AND ($2 OR i.remade OR i.since >= m.unnamed_since)",
        mailbox, all);
}

void look_at(int mailbox, const pg::TextArray& ids) {
    if (ids.empty()) {
        return;
    }
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id) SELECT m.id, u.id "
        "FROM crmsync.mailbox m CROSS JOIN unnest($2::text[]) AS u(id) WHERE m.id = $1 "
        "FOR KEY SHARE OF m "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET version = a.version + 1",
        mailbox, &ids);
}

std::int64_t microseconds(std::chrono::system_clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

}  // namespace

void Echoes::inherit() {
    if (has_inherited_) {
        return;
    }
    const pg::Rows rows =
        pg::query("SELECT id FROM crmsync.mailbox WHERE unnamed_since IS NOT NULL");
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        folders_[static_cast<int>(rows.integer(row, 0))].inherited = true;
    }
    has_inherited_ = true;
}

void Echoes::made(int mailbox, const std::string& id) {
    folders_[mailbox].made.push_back(hash_of(id));
}

// What earlier pages have named is not named again when a reading is taken up once more.
void Echoes::begin(int mailbox) {
    Folder& folder = folders_[mailbox];
    std::move(folder.made.begin(), folder.made.end(), std::back_inserter(folder.due));
    folder.made.clear();
    folder.began = std::chrono::system_clock::now();
}

bool Echoes::awaited(int mailbox) const {
    const auto folder = folders_.find(mailbox);
    return folder != folders_.end() && (!folder->second.due.empty() || folder->second.inherited);
}

void Echoes::take(const sync::FolderPage& page) {
    const auto folder = folders_.find(page.mailbox);
    if (folder == folders_.end() || (folder->second.due.empty() && folder->second.made.empty())) {
        return;
    }
    for (const exchange::FolderChange& change : page.changes) {
        folder->second.named.push_back(hash_of(change.item.id));
    }
}

bool Echoes::end(int mailbox) {
    Folder& folder = folders_.at(mailbox);
    std::sort(folder.named.begin(), folder.named.end());
    const Hashes missing = without(folder.due, folder.named);
    folder.made = without(std::move(folder.made), folder.named);
    pg::TextArray ids;
    if (folder.inherited || !missing.empty()) {
        const pg::Rows rows = read_items(mailbox, !folder.inherited);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            std::string id = rows.string(row, 0);
            if (folder.inherited ||
                std::binary_search(missing.begin(), missing.end(), hash_of(id))) {
                ids.push_back(std::move(id));
            }
        }
    }
    look_at(mailbox, ids);
    pg::query(
        "UPDATE crmsync.mailbox SET unnamed_since = CASE WHEN $2 THEN timestamptz 'epoch' "
        "+ $3 * interval '1 microsecond' END WHERE id = $1",
        mailbox, !folder.made.empty(), microseconds(folder.began));
    folder.due.clear();
    folder.named.clear();
    folder.inherited = false;
    return !ids.empty();
}

void await_echoes(const std::vector<int>& mailboxes) {
    if (!mailboxes.empty()) {
        const pg::IntegerArray ids(mailboxes.begin(), mailboxes.end());
        pg::query(
            "UPDATE crmsync.mailbox SET unnamed_since = pg_catalog.now() "
            "WHERE id = ANY ($1) AND unnamed_since IS NULL",
            &ids);
    }
}

}  // namespace crmsync
