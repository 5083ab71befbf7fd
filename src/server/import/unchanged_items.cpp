#include "server/import/unchanged_items.h"

#include "server/import/planned_without.h"

namespace crmsync {

std::vector<bool> find_unchanged_items(int mailbox, const pg::TextArray& keys,
                                       const pg::TextArray& change_keys, SeenItems& seen) {
    // One by one and by index.
    const PlannedWithout planning(PlanStep::sequential_scan);
    const pg::Rows rows = pg::query(
        "SELECT u.place, i.change_key IS NOT DISTINCT FROM u.change_key, "
        "pg_catalog.hashtextextended(i.remote_id, 0) "
        "FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u(key, change_key, place) "
        "CROSS JOIN LATERAL (SELECT t.remote_id, t.change_key FROM crmsync.item t "
        "WHERE t.mailbox = $1 AND pg_catalog.hashtext(t.remote_id) = pg_catalog.hashtext(u.key) "
        "AND t.remote_id = u.key AND t.state = 'linked' OFFSET 0) AS i",
        mailbox, &keys, &change_keys);
    std::vector<bool> unchanged(keys.size());
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        unchanged[static_cast<std::size_t>(rows.integer(row, 0)) - 1] = rows.boolean(row, 1);
        ++seen.count;
        seen.hashes ^= rows.integer(row, 2);
    }
    planning.end();
    return unchanged;
}

bool are_all_items(int mailbox, const SeenItems& seen) {
    const pg::Rows rows = pg::query(
        "SELECT pg_catalog.count(*), "
        "coalesce(pg_catalog.bit_xor(pg_catalog.hashtextextended(remote_id, 0)), 0) "
        "FROM crmsync.item WHERE mailbox = $1 AND state = 'linked'",
        mailbox);
    return rows.integer(0, 0) == seen.count && rows.integer(0, 1) == seen.hashes;
}

}  // namespace crmsync
