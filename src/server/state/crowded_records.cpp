#include "server/state/crowded_records.h"

#include <algorithm>
#include <iterator>

namespace crmsync {

namespace {

// They are few, and may have very many rows each.
pg::IntegerArray crowded_mailboxes(int link) {
    const pg::Rows rows = pg::query(
        "WITH RECURSIVE one AS ("
        "(SELECT mailbox FROM crmsync.crowded WHERE link = $1 ORDER BY mailbox LIMIT 1) UNION ALL "
        "SELECT (SELECT c.mailbox FROM crmsync.crowded c WHERE c.link = $1 "
        "AND c.mailbox > one.mailbox ORDER BY c.mailbox LIMIT 1) "
        "FROM one WHERE one.mailbox IS NOT NULL) "
        "SELECT mailbox FROM one WHERE mailbox IS NOT NULL",
        link);
    pg::IntegerArray mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        mailboxes.push_back(static_cast<int>(rows.integer(row, 0)));
    }
    return mailboxes;
}

}  // namespace

void add_crowded(int link, const pg::TextArray& records, const pg::IntegerArray& mailboxes) {
    pg::query(
        "INSERT INTO crmsync.crowded (link, mailbox, record, since) "
        "SELECT $1, u.mailbox, u.record, coalesce((SELECT pg_catalog.min(p.since) "
        "FROM crmsync.pending p WHERE p.link = $1 AND p.tier IN (0, 1) AND p.record = u.record), "
        "pg_catalog.clock_timestamp()) "
        "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox "
        "ON CONFLICT (link, mailbox, record) DO NOTHING",
        link, &records, &mailboxes);
}

CrowdedRecords take_back(int link, const sync::WorkInFlight& in_flight, int limit) {
    CrowdedRecords crowded{.records = {}, .mailboxes = crowded_mailboxes(link)};
    pg::IntegerArray with_room;
    std::remove_copy_if(crowded.mailboxes.begin(), crowded.mailboxes.end(),
                        std::back_inserter(with_room),
                        [&](int mailbox) { return in_flight.has_enough(mailbox); });
    if (with_room.empty()) {
        return crowded;
    }
    const pg::Rows rows = pg::query(
        "WITH taken AS (DELETE FROM crmsync.crowded WHERE ctid = ANY (ARRAY("
        "SELECT c.ctid FROM unnest($2::integer[]) AS u(mailbox) CROSS JOIN LATERAL "
        "(SELECT ctid FROM crmsync.crowded WHERE link = $1 AND mailbox = u.mailbox "
        "ORDER BY record LIMIT $3) AS c LIMIT $3)) RETURNING record, since) "
        "INSERT INTO crmsync.pending AS p (link, tier, record, since) "
        "SELECT $1, 1, record, pg_catalog.min(since) FROM taken GROUP BY record ORDER BY record "
        "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1, "
        "since = LEAST(p.since, excluded.since) RETURNING record, version",
        link, &with_room, limit);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const std::string record = rows.string(row, 0);
        crowded.records[record].push_back({link, 1, record, rows.integer(row, 1)});
    }
    return crowded;
}

}  // namespace crmsync
