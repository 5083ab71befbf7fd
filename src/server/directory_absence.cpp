// What follows from absence: users who are no longer in the directory, or no longer enabled there.
// Both pass the guard, since a wrong base or attribute makes everybody look that way.
#include <algorithm>

#include "server/delete_guard.h"
#include "server/directory_merge.h"
#include "server/query.h"
#include "server/subtransaction.h"
#include "server/transaction.h"

namespace crmsync {

namespace {

const char* name(Absence kind) {
    switch (kind) {
        case Absence::vanished:
            return "vanished";
        case Absence::disabled:
            return "disabled";
        case Absence::memberships:
            return "memberships";
    }
    return "";
}

const char* words(Absence kind) {
    switch (kind) {
        case Absence::vanished:
            return " vanished users";
        case Absence::disabled:
            return " users to disable";
        case Absence::memberships:
            return " memberships to remove";
    }
    return "";
}

// Read when it counts, not when the run begins: somebody may have looked meanwhile.
std::int64_t confirmed(const DirectoryLink& link, Absence kind) {
    const pg::Rows rows =
        pg::query("SELECT confirmed FROM crmsync.held WHERE link = $1 AND kind = $2", link.id,
                  std::string_view(name(kind)));
    return rows.empty() ? 0 : rows.integer(0, 0);
}

}  // namespace

bool deletes_may_pass(const DirectoryLink& link, Absence kind, std::int64_t count, std::int64_t of,
                      DirectoryOutcome& outcome) {
    if (count <= confirmed(link, kind)) {
        return true;
    }
    const pg::Rows recent = pg::query(
        "SELECT coalesce(pg_catalog.sum(count), 0)::bigint FROM crmsync.deletion "
        "WHERE link = $1 AND mailbox = $2 AND minute > pg_catalog.now() - interval '1 hour'",
        link.id, link.mailbox);
    const std::int64_t meant = recent.integer(0, 0) + count;
    if (exceeds(link.guard, meant, of)) {
        outcome.held.push_back({kind, count});
        return false;
    }
    pg::query(
        "INSERT INTO crmsync.deletion (link, mailbox, minute, count) "
        "VALUES ($1, $2, pg_catalog.date_trunc('minute', pg_catalog.now()), $3) "
        "ON CONFLICT (link, mailbox, minute) DO UPDATE SET count = deletion.count + excluded.count",
        link.id, link.mailbox, static_cast<std::int32_t>(count));
    return true;
}

// A confirmation counts for one complete run. One that came when this run had decided already is
// kept for the next, unless it was of a smaller number.
std::string note_held(const DirectoryLink& link, const DirectoryOutcome& outcome) {
    pg::TextArray kinds;
    pg::BigintArray counts;
    std::string text;
    for (const Held& held : outcome.held) {
        kinds.emplace_back(name(held.kind));
        counts.push_back(held.count);
        text += (text.empty() ? "" : ", ") + std::to_string(held.count) + words(held.kind);
    }
    pg::query("DELETE FROM crmsync.held WHERE link = $1 AND kind <> ALL ($2)", link.id, &kinds);
    if (kinds.empty()) {
        return {};
    }
    pg::query(
        "INSERT INTO crmsync.held AS h (link, kind, items) SELECT $1, u.kind, u.items "
        "FROM unnest($2::text[], $3::bigint[]) AS u(kind, items) "
        "ON CONFLICT (link, kind) DO UPDATE SET items = excluded.items, "
        "noted = CASE WHEN h.items = excluded.items THEN h.noted ELSE excluded.noted END, "
        "confirmed = CASE WHEN h.confirmed >= excluded.items THEN h.confirmed END",
        link.id, &kinds, &counts);
    return text + " wait for confirm_deletes";
}

// A wrong attribute, or a wrong mapping of it, can show everybody as disabled, just as a wrong base
// shows everybody as gone. What counts is who would be disabled in the CRM and is not yet.
void DirectoryMerge::hold_disabled() {
    const DirectoryMapping* mapping = link_.find("@enabled");
    const std::optional<std::string> disabled = reader_.enabled_value(false);
    if (mapping == nullptr || !disabled) {
        return;
    }
    const auto position = static_cast<std::size_t>(mapping - link_.mappings.data());
    const std::string statement =
        "INSERT INTO pg_temp.crmsync_match (entry) SELECT c.entry FROM pg_temp.crmsync_change c "
        "JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry JOIN " +
        link_.source + " t ON t." + link_.key_column + " = c.record::" + link_.key_type +
        " WHERE c.record IS NOT NULL AND e.problem IS NULL AND e.v" + std::to_string(position) +
        " = $1 AND " + changed(position) + " AND " + differs(position, value(position));
    std::int64_t count = 0;
    const auto error = pg::subtransaction([&] {
        const pg::Parameter parameters[] = {std::string_view(*disabled)};
        count = static_cast<std::int64_t>(
            pg::query(statement, parameters, {.owner = link_.owner, .once = true}).size());
    });
    if (error && !is_about_one_row(*error)) {
        throw pg::Error(*error);
    }
    // A value that no column can hold disables nobody: the merge says of whom.
    if (error || count == 0) {
        return;
    }
    const std::int64_t of = pg::query(
                                "SELECT pg_catalog.count(*) FROM crmsync.item WHERE mailbox = $1 "
                                "AND state = 'linked'",
                                link_.mailbox)
                                .integer(0, 0);
    if (deletes_may_pass(link_, Absence::disabled, count, of, outcome_)) {
        outcome_.disabled += count;
    } else {
        pg::query(
            "DELETE FROM pg_temp.crmsync_change c USING pg_temp.crmsync_match m "
            "WHERE c.entry = m.entry",
            {}, {.once = true});
    }
    pg::query("TRUNCATE pg_temp.crmsync_match", {}, {.once = true});
}

void DirectoryMerge::mark_vanished() {
    pg::Transaction transaction("marking vanished users of link " + link_.name,
                                pg::Transaction::read_committed);
    check_still_runs(link_);
    if (vanished_ > 0) {
        NoNestedLoops planning;
        pg::query(
            "UPDATE crmsync.item i SET state = 'leaving', since = pg_catalog.now() "
            "FROM pg_temp.crmsync_change c WHERE c.entry IS NULL "
            "AND i.link = $1 AND i.record = c.record AND i.mailbox = $2 AND i.state = 'linked' "
            "AND i.remote_id = c.key",
            link_.id, link_.mailbox);
        planning.end();
    }
    const std::string due =
        "link = $1 AND mailbox = $2 AND state = 'leaving' "
        "AND since <= pg_catalog.now() - pg_catalog.make_interval(secs => $3)";
    const std::int64_t count =
        pg::query("SELECT pg_catalog.count(*) FROM crmsync.item WHERE " + due, link_.id,
                  link_.mailbox, link_.grace_seconds)
            .integer(0, 0);
    if (count == 0) {
        transaction.commit();
        return;
    }
    const std::int64_t known =
        pg::query(
            "SELECT pg_catalog.count(*) FROM crmsync.item WHERE mailbox = $1 "
            "AND state IN ('linked', 'leaving')",
            link_.mailbox)
            .integer(0, 0);
    pg::TextArray records;
    if (deletes_may_pass(link_, Absence::vanished, count, known, outcome_)) {
        const pg::Rows gone =
            pg::query("UPDATE crmsync.item SET state = 'gone' WHERE " + due + " RETURNING record",
                      link_.id, link_.mailbox, link_.grace_seconds);
        for (std::uint64_t row = 0; row < gone.size(); ++row) {
            records.push_back(gone.string(row, 0));
        }
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
