#include "server/import/directory_entries.h"

#include "server/postgres/transaction.h"

namespace crmsync {

namespace {

constexpr std::size_t most_row_bytes = 1u << 20;
constexpr std::size_t most_entries = 1000;

// Columns of crmsync_entry that say that the entry is there, and the others but for the values.
constexpr int presence_columns = 3;
constexpr int other_columns = 3;

constexpr const char* table = "crmsync_entry";

}  // namespace

DirectoryEntries::DirectoryEntries(const DirectoryLink& link)
    : link_(link), activity_("staging entries for link " + link.name) {
    survey_.compared = link.had_items && !link.compares_everything;
    for (std::size_t i = 0; i < other_columns + link.mappings.size(); ++i) {
        absent_rest_.add_null();
    }
}

void DirectoryEntries::add(const DirectoryRow& row) {
    const std::size_t begin = rows_.size();
    rows_.begin_row(presence_columns + other_columns + static_cast<int>(row.values.size()));
    rows_.add(row.key);
    if (link_.keeps_memberships()) {
        rows_.add(row.name);
        rows_.add(row.login);
    } else {
        rows_.add_null();
        rows_.add_null();
    }
    waiting_.push_back({begin, rows_.size()});
    rows_.add(row.change_key);
    if (row.problem.empty()) {
        rows_.add_null();
    } else {
        rows_.add(row.problem);
    }
    rows_.add(row.dn);
    for (std::size_t i = 0; i < row.values.size(); ++i) {
        if (row.is_null[i]) {
            rows_.add_null();
        } else {
            rows_.add(row.values[i]);
        }
    }
    keys_.push_back(row.key);
    change_keys_.push_back(row.change_key);
    if (rows_.size() >= most_row_bytes || waiting_.size() >= most_entries) {
        look_up();
    }
}

void DirectoryEntries::finish() {
    if (!waiting_.empty()) {
        look_up();
    }
    if (staged_.size() > 0) {
        stage();
    }
}

void DirectoryEntries::look_up() {
    const std::vector<bool> unchanged = find_unchanged();
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
        const auto [begin, rest] = waiting_[i];
        if (unchanged[i]) {
            staged_.append(rows_, begin, rest);
            staged_.append(absent_rest_, 0, absent_rest_.size());
        } else {
            staged_.append(rows_, begin,
                           i + 1 < waiting_.size() ? waiting_[i + 1].begin : rows_.size());
            ++survey_.changed;
        }
    }
    rows_.clear();
    waiting_.clear();
    keys_.clear();
    change_keys_.clear();
    if (staged_.size() >= most_row_bytes) {
        stage();
    }
}

std::vector<bool> DirectoryEntries::find_unchanged() {
    if (!survey_.compared) {
        return std::vector<bool>(waiting_.size());
    }
    pg::Transaction transaction(activity_, pg::Transaction::read_committed);
    check_still_runs(link_);
    std::vector<bool> unchanged =
        find_unchanged_items(link_.mailbox, keys_, change_keys_, survey_.seen);
    transaction.commit_lazily();
    return unchanged;
}

void DirectoryEntries::stage() {
    pg::Transaction transaction(activity_, pg::Transaction::read_committed);
    check_still_runs(link_);
    staged_.copy_into(table);
    transaction.commit_lazily();
    staged_.clear();
}

}  // namespace crmsync
