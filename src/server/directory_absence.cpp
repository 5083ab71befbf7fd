// What follows from absence: users who are no longer in the directory, or no longer enabled there.
// Both pass the guard, since a wrong base or attribute makes everybody look that way.
#include <algorithm>

#include "server/delete_guard.h"
#include "server/directory_merge.h"
#include "server/query.h"
#include "server/transaction.h"

namespace crmsync {

bool deletes_may_pass(const DirectoryLink& link, std::int64_t count, std::int64_t of,
                      const std::string& what, DirectoryOutcome& outcome) {
    if (count == 0) {
        return true;
    }
    const pg::Rows recent = pg::query(
        "SELECT coalesce(pg_catalog.sum(count), 0)::bigint FROM crmsync.deletion "
        "WHERE link = $1 AND mailbox = $2 AND minute > pg_catalog.now() - interval '1 hour'",
        link.id, link.mailbox);
    const std::int64_t meant = recent.integer(0, 0) + count;
    if (exceeds(link.guard, meant, of) && !link.deletes_are_confirmed) {
        outcome.held.push_back(std::to_string(count) + " " + what);
        return false;
    }
    pg::query(
        "INSERT INTO crmsync.deletion (link, mailbox, minute, count) "
        "VALUES ($1, $2, pg_catalog.date_trunc('minute', pg_catalog.now()), $3) "
        "ON CONFLICT (link, mailbox, minute) DO UPDATE SET count = deletion.count + excluded.count",
        link.id, link.mailbox, static_cast<std::int32_t>(count));
    return true;
}

// A wrong attribute can show everybody as disabled, just as a wrong base shows everybody as gone.
void DirectoryMerge::hold_disabled() {
    const DirectoryMapping* mapping = link_.find("@enabled");
    const std::optional<std::string> disabled = reader_.enabled_value(false);
    if (mapping == nullptr || !disabled) {
        return;
    }
    const auto position = static_cast<std::size_t>(mapping - link_.mappings.data());
    const std::string part =
        ", " +
        std::to_string(DirectoryRowReader::hash_length * (static_cast<int>(position) + 1) + 1) +
        ", " + std::to_string(DirectoryRowReader::hash_length) + ")";
    const std::string which =
        "FROM pg_temp.crmsync_change c JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry "
        "WHERE c.record IS NOT NULL AND c.old_key IS NOT NULL AND e.v" +
        std::to_string(position) + " = $1 AND pg_catalog.substr(c.old_key" + part +
        " IS DISTINCT FROM pg_catalog.substr(e.change_key" + part;
    const std::int64_t count =
        pg::query("SELECT pg_catalog.count(*) " + which, std::string_view(*disabled)).integer(0, 0);
    const std::int64_t of = pg::query(
                                "SELECT pg_catalog.count(*) FROM crmsync.item WHERE mailbox = $1 "
                                "AND state = 'linked'",
                                link_.mailbox)
                                .integer(0, 0);
    if (!deletes_may_pass(link_, count, of, "users to disable", outcome_)) {
        pg::query("DELETE FROM pg_temp.crmsync_change d USING (SELECT c.entry " + which +
                      ") h WHERE d.entry = h.entry",
                  std::string_view(*disabled));
    } else {
        outcome_.disabled += count;
    }
}

void DirectoryMerge::mark_vanished() {
    pg::Transaction transaction("marking vanished users of link " + link_.name,
                                pg::Transaction::Isolation::read_committed);
    const std::int64_t known =
        pg::query(
            "SELECT pg_catalog.count(*) FROM crmsync.item WHERE mailbox = $1 "
            "AND state IN ('linked', 'leaving')",
            link_.mailbox)
            .integer(0, 0);
    NoNestedLoops planning;
    pg::query(
        "UPDATE crmsync.item i SET state = 'leaving', since = pg_catalog.now(), "
        "confirmed = false FROM pg_temp.crmsync_change c WHERE c.entry IS NULL "
        "AND i.link = $1 AND i.record = c.record AND i.mailbox = $2 AND i.state = 'linked' "
        "AND i.remote_id = c.key",
        link_.id, link_.mailbox);
    planning.end();
    const std::string due =
        "link = $1 AND mailbox = $2 AND state = 'leaving' "
        "AND since <= pg_catalog.now() - pg_catalog.make_interval(secs => $3)";
    const pg::Rows counts = pg::query(
        "SELECT pg_catalog.count(*) FILTER (WHERE NOT confirmed), pg_catalog.count(*) "
        "FROM crmsync.item WHERE " +
            due,
        link_.id, link_.mailbox, link_.grace_seconds);
    const bool all_pass =
        deletes_may_pass(link_, counts.integer(0, 0), known, "vanished users", outcome_);
    const pg::Rows gone =
        pg::query("UPDATE crmsync.item SET state = 'gone', confirmed = false WHERE " + due +
                      " AND (confirmed OR $4) RETURNING record",
                  link_.id, link_.mailbox, link_.grace_seconds, all_pass);
    pg::TextArray records;
    for (std::uint64_t row = 0; row < gone.size(); ++row) {
        records.push_back(gone.string(row, 0));
    }
    const DirectoryMapping* mapping = link_.find("@enabled");
    const std::optional<std::string> disabled = reader_.enabled_value(false);
    if (link_.disables_vanished && mapping != nullptr && disabled && !records.empty()) {
        const auto position = static_cast<std::size_t>(mapping - link_.mappings.data());
        const std::string text = value(position, "$2");
        const pg::Parameter parameters[] = {&records, std::string_view(*disabled)};
        const pg::Rows rows =
            pg::query("UPDATE " + link_.source + " t SET " + mapping->column + " = " + text +
                          " WHERE t." + link_.key_column + " = ANY ($1::" + link_.key_type +
                          "[]) AND " + differs(position, text),
                      parameters, {.owner = link_.owner, .once = true});
        outcome_.disabled += static_cast<std::int64_t>(rows.size());
    }
    outcome_.vanished = static_cast<std::int64_t>(records.size());
    transaction.commit();
}

}  // namespace crmsync
