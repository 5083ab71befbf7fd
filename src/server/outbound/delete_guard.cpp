#include "server/outbound/delete_guard.h"

#include <algorithm>
#include <set>
#include <utility>

#include "server/outbound/mailbox_description.h"
#include "server/state/may_be_asked.h"

namespace crmsync {

namespace {

pg::IntegerArray mailboxes_of(const DeleteCounts& counts) {
    pg::IntegerArray ids;
    for (const auto& [mailbox, count] : counts) {
        ids.push_back(mailbox);
    }
    return ids;
}

DeleteCounts count_by_mailbox(int link) {
    DeleteCounts counts;
    const pg::Rows meant = pg::query(
        "SELECT mailbox, pg_catalog.count(*) FILTER (WHERE NOT confirmed), "
        "pg_catalog.count(*) FILTER (WHERE confirmed) FROM crmsync.to_delete "
        "WHERE link = $1 GROUP BY mailbox",
        link);
    for (std::uint64_t row = 0; row < meant.size(); ++row) {
        DeleteCount& count = counts[static_cast<int>(meant.integer(row, 0))];
        count.unconfirmed = meant.integer(row, 1);
        count.confirmed = meant.integer(row, 2);
    }
    if (!counts.empty()) {
        add_recent_deletes(link, counts);
    }
    return counts;
}

// Counting a million items takes a while: not further than it can make a difference.
std::int64_t items_of(const LinkConfiguration& link, const DeleteCount& count, int mailbox) {
    const GuardLimits& limits = link.guard;
    if (count.deletes() <= limits.min_deletes || count.deletes() > limits.max_deletes ||
        limits.max_delete_percent == 0) {
        return 0;
    }
    const std::int64_t enough = count.deletes() * 100 / limits.max_delete_percent + 1;
    const pg::Rows rows = mailbox == 0
                              ? pg::query(
                                    "SELECT pg_catalog.count(*) FROM (SELECT FROM crmsync.item "
                                    "WHERE link = $1 AND state NOT IN ('gone', 'absent', "
                                    "'unlinked') LIMIT $2) AS first",
                                    link.id, enough)
                              : pg::query(
                                    "SELECT pg_catalog.count(*) FROM (SELECT FROM crmsync.item "
                                    "WHERE mailbox = $1 AND state NOT IN ('gone', 'absent', "
                                    "'unlinked') LIMIT $2) AS first",
                                    mailbox, enough);
    // Copies of items are there, too.
    const pg::Rows copies = pg::query(
        "SELECT pg_catalog.count(*) FROM crmsync.sighting s JOIN crmsync.mailbox m "
        "ON m.id = s.mailbox WHERE s.kind = 'surplus' AND m.link = $1 AND $2 IN (0, m.id)",
        link.id, mailbox);
    return rows.integer(0, 0) + copies.integer(0, 0) + count.recent;
}

// For those who cannot ask the link's relation of mailboxes.
void note_opted_out(const LinkConfiguration& link, const pg::IntegerArray& mailboxes) {
    const pg::TextArray participants = taking_part(link);
    pg::query(
        "UPDATE crmsync.mailbox SET opted_out = NOT opted_out WHERE id IN (SELECT m.id "
        "FROM crmsync.mailbox m WHERE m.id = ANY ($1) AND m.opted_out = (m.address = ANY ($2)) "
        "ORDER BY m.id FOR NO KEY UPDATE)",
        &mailboxes, &participants);
}

// Deletes are done in mailboxes that take part, and in those under withdrawal once they have been
// listed: returns these. What is meant in mailboxes that are neither does not count.
pg::IntegerArray where_to_delete(const LinkConfiguration& link, DeleteCounts& counts) {
    pg::IntegerArray ids = mailboxes_of(counts);
    const bool all_take_part = link.enabled && link.mailboxes_query.empty();
    if (all_take_part || counts.empty()) {
        return ids;
    }
    if (link.enabled) {
        note_opted_out(link, ids);
    }
    const pg::Rows known = pg::query(
        "SELECT m.id, $2 AND NOT m.opted_out OR coalesce(p.step IN ('unlink', 'delete'), false), "
        "EXISTS (SELECT FROM crmsync.left_alone a WHERE a.mailbox = m.id) "
        "FROM crmsync.mailbox m "
        "LEFT JOIN crmsync.repair p ON p.mailbox = m.id AND p.mode = 'withdraw' "
        "WHERE m.id = ANY ($1)",
        &ids, link.enabled);
    pg::IntegerArray places;
    for (std::uint64_t row = 0; row < known.size(); ++row) {
        const int mailbox = static_cast<int>(known.integer(row, 0));
        if (known.boolean(row, 1)) {
            places.push_back(mailbox);
        } else if (known.boolean(row, 2)) {
            counts[mailbox].unconfirmed = 0;
        }
    }
    return places;
}

bool waits(const LinkConfiguration& link, const DeleteCount& count, int mailbox) {
    return count.unconfirmed > 0 &&
           exceeds(link.guard, count.deletes(), items_of(link, count, mailbox));
}

std::string held_text(const GuardVerdict& verdict, const DeleteCounts& counts) {
    std::int64_t held = 0;
    int mailboxes = 0;
    for (const auto& [mailbox, count] : counts) {
        if (verdict.holds(mailbox, false) && count.unconfirmed > 0) {
            held += count.unconfirmed;
            ++mailboxes;
        }
    }
    return held == 0 ? std::string()
                     : std::to_string(held) + " deletes in " + std::to_string(mailboxes) +
                           " mailboxes wait for confirm_deletes";
}

void report_held(int link, const std::string& text) {
    pg::query(
        "UPDATE crmsync.link_state SET held = nullif($2, '') "
        "WHERE link = $1 AND coalesce(held, '') <> $2",
        link, std::string_view(text));
}

}  // namespace

bool exceeds(const GuardLimits& limits, std::int64_t deletes, std::int64_t items) {
    return deletes > limits.max_deletes ||
           (deletes > limits.min_deletes && deletes * 100 > items * limits.max_delete_percent);
}

void add_recent_deletes(int link, DeleteCounts& counts) {
    const pg::Rows done = pg::query(
        "SELECT mailbox, pg_catalog.sum(count)::bigint FROM crmsync.deletion WHERE link = $1 "
        "AND minute > pg_catalog.now() - interval '1 hour' GROUP BY mailbox",
        link);
    for (std::uint64_t row = 0; row < done.size(); ++row) {
        counts[static_cast<int>(done.integer(row, 0))].recent = done.integer(row, 1);
    }
}

GuardVerdict judge(const LinkConfiguration& link, const DeleteCounts& counts) {
    GuardVerdict verdict;
    DeleteCount sum;
    for (const auto& [mailbox, count] : counts) {
        sum.unconfirmed += count.unconfirmed;
        sum.recent += count.recent;
        if (waits(link, count, mailbox)) {
            verdict.mailboxes.insert(mailbox);
        }
    }
    verdict.whole_link = waits(link, sum, 0);
    return verdict;
}

namespace {

// To count more than so many takes a while.
constexpr std::int64_t many_deletes = 10000;

// What waits as a whole goes on waiting for a moment: to think so too long lets nothing through.
bool is_held_still(int link) {
    return !pg::query(
                "SELECT FROM crmsync.link_state WHERE link = $1 AND held IS NOT NULL "
                "AND recount > pg_catalog.now()",
                link)
                .empty();
}

void hold_for_a_moment(int link, const DeleteCounts& counts) {
    std::int64_t held = 0;
    for (const auto& [mailbox, count] : counts) {
        held += count.unconfirmed;
    }
    if (held > many_deletes) {
        // Less than between two polls, each of which is to count.
        pg::query(
            "UPDATE crmsync.link_state SET recount = pg_catalog.now() + interval '4 seconds' "
            "WHERE link = $1",
            link);
    }
}

// Whom the guard lets through now.
struct Passing {
    pg::IntegerArray places;
    pg::IntegerArray held;
    bool whole_link = false;  // is held
    bool none = true;
};

Passing ask_guard(const LinkConfiguration& link) {
    if (is_held_still(link.id)) {
        return {};
    }
    DeleteCounts counts = count_by_mailbox(link.id);
    Passing passing{.places = where_to_delete(link, counts), .held = {}};
    const GuardVerdict verdict = judge(link, counts);
    report_held(link.id, held_text(verdict, counts));
    const bool any_confirmed =
        std::any_of(counts.begin(), counts.end(), [](const auto& c) { return c.second.confirmed; });
    passing.held.assign(verdict.mailboxes.begin(), verdict.mailboxes.end());
    passing.whole_link = verdict.whole_link;
    passing.none = counts.empty() || (verdict.whole_link && !any_confirmed);
    if (verdict.whole_link && passing.none) {
        hold_for_a_moment(link.id, counts);
    }
    return passing;
}

// Of the items $1, those of the mailboxes $2 and not held ($3, $4).
const std::string passing_deletes =
    "SELECT i.record, i.mailbox, coalesce(i.remote_id, ''), coalesce(i.change_key, ''), i.unknown, "
    "i.kind = 'copy' "
    "FROM crmsync.to_delete i JOIN crmsync.mailbox m ON m.id = i.mailbox "
    "WHERE i.link = $1 "
    "AND i.mailbox = ANY ($2) AND (i.confirmed OR NOT ($3 OR i.mailbox = ANY ($4))) "
    // Tier by tier: with both at once an index may be read from end to end for each item.
    "AND NOT ($6 AND (EXISTS (SELECT FROM crmsync.pending p WHERE p.link = i.link "
    "AND p.tier = 0 AND p.record = i.record) OR EXISTS (SELECT FROM crmsync.pending p "
    "WHERE p.link = i.link AND p.tier = 1 AND p.record = i.record))) "
    // A copy that may be its user's could be taken for the item, where that is gone.
    "AND NOT (i.kind = 'item' AND (EXISTS (SELECT FROM crmsync.sighting s "
    "WHERE s.mailbox = i.mailbox AND s.record = i.record AND s.kind IN ('copy', 'late')) "
    "OR EXISTS (SELECT FROM crmsync.sighting s "
    "WHERE s.mailbox = i.mailbox AND s.record = i.record AND s.kind = 'stray'))) AND " +
    has_no_pause;

std::vector<LeavingItem> read_passing(const LinkConfiguration& link, const Passing& passing,
                                      std::size_t limit, const std::string& condition) {
    const pg::Rows rows = pg::query(passing_deletes + condition + " LIMIT $5", link.id,
                                    &passing.places, passing.whole_link, &passing.held,
                                    static_cast<std::int32_t>(limit), link.enabled);
    std::vector<LeavingItem> items;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        items.push_back({rows.string(row, 0),
                         static_cast<int>(rows.integer(row, 1)),
                         {rows.string(row, 2), rows.string(row, 3)},
                         rows.boolean(row, 4),
                         rows.boolean(row, 5)});
    }
    return items;
}

}  // namespace

DeletableItems deletable_items(const LinkConfiguration& link, sync::WorkInFlight& in_flight) {
    // Only when a comparison is over is the number of deletes known.
    if (link.enabled &&
        !pg::query("SELECT FROM crmsync.link_state WHERE link = $1 AND comparison IS NOT NULL",
                   link.id)
             .empty()) {
        return {};
    }
    Passing passing = ask_guard(link);
    if (passing.none) {
        return {};
    }
    DeletableItems result;
    // What is under way is read again: no more than that many are.
    std::size_t limit = most_deletes_at_once;
    std::erase_if(passing.places, [&](int mailbox) {
        if (in_flight.has_enough(mailbox)) {
            result.crowded.push_back(mailbox);
            return true;
        }
        limit += in_flight.begun(mailbox);
        return false;
    });
    result.items = read_passing(link, passing, limit, "AND i.kind <> 'record' AND " + may_be_asked);
    result.more = result.items.size() == limit;
    // Of an item and its copies one at a time, as of all that goes on for a record in a mailbox.
    std::set<std::pair<std::string, int>> taken;
    std::erase_if(result.items, [&](const LeavingItem& item) {
        if (in_flight.occupies(link.id, item.record, item.mailbox)) {
            return true;
        }
        const bool is_first = taken.emplace(item.record, item.mailbox).second;
        result.more |= !is_first;
        return !is_first;
    });
    result.more &= !result.items.empty();
    return result;
}

std::string count_deletes(const std::string& rows) {
    return "INSERT INTO crmsync.deletion AS d (link, mailbox, minute, count) "
           "SELECT link, mailbox, pg_catalog.date_trunc('minute', pg_catalog.now()), "
           "pg_catalog.count(*) FROM " +
           rows +
           " GROUP BY link, mailbox "
           "ON CONFLICT (link, mailbox, minute) DO UPDATE SET count = d.count + excluded.count";
}

void note_deletes(const LinkConfiguration& link, const std::vector<LeavingItem>& items) {
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    for (const LeavingItem& item : items) {
        records.push_back(item.record);
        mailboxes.push_back(item.mailbox);
    }
    if (records.empty()) {
        return;
    }
    pg::query(
        "UPDATE crmsync.item i SET doubtful = true "
        "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) WHERE i.link = $1 "
        "AND i.record = u.record AND i.mailbox = u.mailbox AND i.state = 'leaving' "
        "AND NOT i.doubtful",
        link.id, &records, &mailboxes);
}

std::vector<LeavingItem> removable_records(const LinkConfiguration& link) {
    const Passing passing = ask_guard(link);
    if (passing.none) {
        return {};
    }
    // Only when all that has arrived has been looked at is their number known, and what was only
    // moved back.
    return read_passing(
        link, passing, most_deletes_at_once,
        "AND i.kind = 'record' AND m.listing IS NULL AND NOT EXISTS "
        "(SELECT FROM crmsync.arrival a WHERE a.mailbox = m.id AND a.code IS NULL)");
}

}  // namespace crmsync
