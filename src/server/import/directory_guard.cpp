#include "server/import/directory_guard.h"

#include "server/outbound/delete_guard.h"
#include "server/postgres/query.h"

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

Passage judge_deletes(const DirectoryLink& link, Absence kind, std::int64_t count, std::int64_t of,
                      std::vector<Held>& held) {
    if (count <= confirmed(link, kind)) {
        return Passage::confirmed;
    }
    const pg::Rows recent = pg::query(
        "SELECT coalesce(pg_catalog.sum(count), 0)::bigint FROM crmsync.deletion "
        "WHERE link = $1 AND mailbox = $2 AND minute > pg_catalog.now() - interval '1 hour'",
        link.id, link.mailbox);
    const std::int64_t meant = recent.integer(0, 0) + count;
    if (exceeds(link.guard, meant, of)) {
        held.push_back({kind, count});
        return Passage::held;
    }
    return Passage::allowed;
}

void count_deletes(const DirectoryLink& link, Passage passage, std::int64_t count) {
    if (passage != Passage::allowed || count == 0) {
        return;
    }
    pg::query(
        "INSERT INTO crmsync.deletion (link, mailbox, minute, count) "
        "VALUES ($1, $2, pg_catalog.date_trunc('minute', pg_catalog.now()), $3) "
        "ON CONFLICT (link, mailbox, minute) DO UPDATE SET count = deletion.count + excluded.count",
        link.id, link.mailbox, static_cast<std::int32_t>(count));
}

// A confirmation counts for one complete run. One that came when this run had decided already is
// kept for the next, unless it was of a smaller number.
std::string note_held(const DirectoryLink& link, const std::vector<Held>& held) {
    pg::TextArray kinds;
    pg::BigintArray counts;
    std::string text;
    for (const Held& one : held) {
        kinds.emplace_back(name(one.kind));
        counts.push_back(one.count);
        text += (text.empty() ? "" : ", ") + std::to_string(one.count) + words(one.kind);
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

}  // namespace crmsync
