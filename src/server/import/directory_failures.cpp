#include "server/import/directory_failures.h"

#include "server/postgres/error_text.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"

namespace crmsync {

void DirectoryFailures::write(const std::string& record, const std::string& code,
                              const std::string& message) {
    pg::query(
        "INSERT INTO crmsync.failure AS f (link, mailbox, record, code, message) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (link, mailbox, record) DO UPDATE SET "
        "attempts = f.attempts + 1, code = excluded.code, message = excluded.message",
        link_.id, link_.mailbox, std::string_view(record), std::string_view(code),
        std::string_view(message));
    records_.insert(record);
}

void DirectoryFailures::write(const std::string& record, const pg::Error& error) {
    pg::Transaction transaction("recording a failure of link " + link_.name,
                                pg::Transaction::read_committed);
    write(record, error.code(), error_text(error));
    transaction.commit_lazily();
}

std::int64_t DirectoryFailures::write_problems() {
    const pg::Rows rows = pg::query(
        "INSERT INTO crmsync.failure AS f (link, mailbox, record, code, message) "
        "SELECT DISTINCT ON (1, 2, 3) $1, $2, coalesce(c.record, e.dn), 'VALUE', e.problem "
        "FROM pg_temp.crmsync_change c JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry "
        "WHERE e.problem IS NOT NULL "
        "ON CONFLICT (link, mailbox, record) DO UPDATE SET attempts = f.attempts + 1, "
        "code = excluded.code, message = excluded.message RETURNING record",
        link_.id, link_.mailbox);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        records_.insert(rows.string(row, 0));
    }
    return static_cast<std::int64_t>(rows.size());
}

void DirectoryFailures::settle() const {
    const pg::TextArray records(records_.begin(), records_.end());
    pg::query(
        "DELETE FROM crmsync.failure WHERE link = $1 AND mailbox = $2 "
        "AND record <> ALL ($3)",
        link_.id, link_.mailbox, &records);
}

}  // namespace crmsync
