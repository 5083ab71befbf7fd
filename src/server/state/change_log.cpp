#include "server/state/change_log.h"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/postgres/boundary.h"

extern "C" {
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
}

#include "server/configuration/record_key.h"
#include "server/postgres/preload.h"
#include "server/postgres/query.h"
#include "server/postgres/rewritten_relation.h"
#include "server/postgres/subtransaction.h"
#include "server/postgres/table.h"
#include "server/postgres/transaction.h"
#include "server/state/links_at_hand.h"

namespace crmsync {

namespace {

using namespace std::chrono_literals;

// A half this large is emptied as soon as it can be; smaller ones cost less to read than to empty.
constexpr std::int64_t rotation_bytes = 1 << 20;

// More records than this at once are a backlog: small fresh changes go before them.
constexpr int largest_fresh_change = 1000;

// More values than this are not looked up one by one: the link is compared as a whole.
constexpr std::size_t most_lookups = 20'000;

// No link's lookups may keep the others waiting for longer than this: then the link is compared.
constexpr auto longest_lookups = 2s;

using Clock = std::chrono::steady_clock;

void compare_everything(std::string_view condition) {
    pg::query(
        "SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link WHERE enabled AND " +
        std::string(condition));
}

// The position up to which the log is consumed, as text; empty when there is none.
std::string position() {
    const pg::Rows rows = pg::query("SELECT snapshot::text FROM crmsync.log_position");
    return rows.empty() ? std::string() : rows.string(0, 0);
}

void store_position() {
    pg::query(
        "INSERT INTO crmsync.log_position (snapshot) "
        "VALUES (pg_catalog.pg_current_snapshot()) "
        "ON CONFLICT (only_row) DO UPDATE SET snapshot = excluded.snapshot");
}

// What was given up of these records (link, value) is given up no more.
std::string try_again(const std::string& records) {
    return "UPDATE crmsync.failure f SET next_attempt = pg_catalog.now() FROM " + records +
           " n WHERE f.link = n.link AND f.record = n.value AND f.code <> 'POSTPONED' "
           "AND f.code <> 'LOOP' "  // the change may be what goes round
           "AND (f.next_attempt IS NULL OR f.next_attempt > pg_catalog.now())";
}

// One scan of the log for all that follows from what is new in it ($1: the position). What a marker
// names becomes pending; what was given up of it is given up no more; a marker without a value
// asks for a comparison. Values that lead to records by a lookup are returned, each capture's first
// $3; the first column says whether anything was new at all. A link that somebody is removing waits
// until that is over, and is compared where it came to nothing.
const std::string take_new_markers =
    "WITH marker AS MATERIALIZED ("
    "SELECT capture, value FROM crmsync.change_log_0 "
    "WHERE NOT pg_catalog.pg_visible_in_snapshot(transaction, $1::pg_catalog.pg_snapshot) "
    "UNION SELECT capture, value FROM crmsync.change_log_1 "
    "WHERE NOT pg_catalog.pg_visible_in_snapshot(transaction, $1::pg_catalog.pg_snapshot)), "
    "named_in AS (SELECT c.link, c.capture, c.lookup, c.comparison, l.owner, m.value FROM marker m "
    "JOIN crmsync.capture_link c USING (capture) JOIN crmsync.link l ON l.id = c.link AND "
    "l.enabled), "
    "concerned AS (SELECT link FROM named_in UNION SELECT l.id FROM crmsync.log_position p "
    "JOIN crmsync.link l ON l.id = ANY (p.missed)), " +
    links_at_hand("concerned") +
    ", captured AS (SELECT n.* FROM named_in n JOIN at_hand h ON h.id = n.link), "
    "now_missed AS (UPDATE crmsync.log_position p SET missed = n.missed FROM (SELECT ARRAY("
    "SELECT link FROM concerned WHERE link NOT IN (SELECT id FROM at_hand) ORDER BY link) AS missed"
    ") AS n WHERE p.missed <> n.missed RETURNING 1), "
    "named AS (SELECT DISTINCT link, value FROM captured "
    "WHERE lookup IS NULL AND value IS NOT NULL), "
    "now_pending AS (INSERT INTO crmsync.pending AS p (link, tier, record) "
    "SELECT link, CASE WHEN pg_catalog.count(*) OVER (PARTITION BY link) > $2 "
    "THEN 1 ELSE 0 END, value FROM named ORDER BY 1, 3 "
    "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1), "
    "tried_again AS (" +
    try_again("named") +
    "), "
    "compared AS (SELECT crmsync.request_comparison(link, "
    "crmsync.largest_comparison(pg_catalog.array_agg(comparison))) FROM ("
    "SELECT link, comparison FROM captured WHERE value IS NULL UNION ALL "
    "SELECT h.id, 'everything' FROM crmsync.log_position p JOIN at_hand h ON h.id = ANY (p.missed)"
    ") AS c GROUP BY link), "
    "found AS (SELECT link, capture, lookup, pg_catalog.to_regrole(owner)::oid AS owner, value, "
    "pg_catalog.row_number() OVER (PARTITION BY link, capture) AS number FROM captured "
    "WHERE lookup IS NOT NULL AND value IS NOT NULL) "
    "SELECT new.seen, f.link, f.lookup, f.owner, f.value, new.compared "
    "FROM (SELECT EXISTS (SELECT FROM marker) OR EXISTS (SELECT FROM now_missed) AS seen, "
    // What nobody reads would not be run.
    "(SELECT pg_catalog.count(*) FROM compared) AS compared) AS new "
    "LEFT JOIN (SELECT * FROM found WHERE number <= $3) AS f ON true "
    "ORDER BY f.link, f.capture";

// Values of one watched column, and the query of the link's owner that leads to records.
struct Lookup {
    int link;
    Oid owner;
    std::string query;
    pg::TextArray values;
};

std::vector<Lookup> lookups_of(const pg::Rows& rows) {
    std::vector<Lookup> lookups;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        if (rows.is_null(row, 1)) {
            continue;
        }
        const int link = static_cast<int>(rows.integer(row, 1));
        if (lookups.empty() || lookups.back().link != link ||
            lookups.back().query != rows.text(row, 2)) {
            lookups.push_back(
                {link, static_cast<Oid>(rows.integer(row, 3)), rows.string(row, 2), {}});
        }
        lookups.back().values.push_back(rows.string(row, 4));
    }
    return lookups;
}

// Returns false when there was no time to look all of them up.
bool look_up(const Lookup& lookup, Clock::time_point deadline) {
    // Keys of any type, in the text form that the change log and items have them in.
    const std::string keys = "SELECT found.key::text FROM (" + lookup.query + "\n) AS found (key)";
    pg::TextArray records;
    std::int64_t long_keys = 0;
    for (const std::string& value : lookup.values) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        if (left <= 0ms) {
            return false;
        }
        const pg::Parameter parameters[] = {std::string_view(value)};
        const pg::Rows rows = pg::query(keys, parameters, {.owner = lookup.owner, .longest = left});
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            if (rows.text(row, 0).size() > longest_kept_key) {
                ++long_keys;
            } else if (!rows.is_null(row, 0)) {
                records.push_back(rows.string(row, 0));
            }
        }
        pg::check_interrupts();
    }
    pg::query(
        "INSERT INTO crmsync.pending AS p (link, tier, record) "
        "SELECT DISTINCT $1::integer, CASE WHEN $3 > $4 THEN 1 ELSE 0 END, record "
        "FROM unnest($2::text[]) AS u(record) "
        "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        lookup.link, &records, static_cast<std::int32_t>(records.size()), largest_fresh_change);
    pg::query(
        try_again("(SELECT $1::integer AS link, u.value FROM unnest($2::text[]) AS u(value))"),
        lookup.link, &records);
    if (long_keys > 0) {
        pg::query("UPDATE crmsync.link_state SET long_keys = $2 WHERE link = $1 AND long_keys < $2",
                  lookup.link, long_keys);
    }
    return true;
}

// A lookup that fails, or takes too long, concerns its own link: that one is compared instead.
void mark_looked_up_records(const std::vector<Lookup>& lookups) {
    std::map<int, Clock::time_point> deadlines;
    for (const Lookup& lookup : lookups) {
        const auto deadline =
            deadlines.try_emplace(lookup.link, Clock::now() + longest_lookups).first->second;
        bool done = false;
        if (OidIsValid(lookup.owner) && lookup.values.size() <= most_lookups) {
            const auto error = pg::subtransaction([&] { done = look_up(lookup, deadline); });
            done = done && !error;
            pg::check_interrupts();
        }
        if (!done) {
            compare_everything("id = " + std::to_string(lookup.link));
        }
    }
}

Oid log_oid(int which) {
    const char* name = which == 0 ? "change_log_0" : "change_log_1";
    return pg::guard([&] {
        const Oid schema = get_namespace_oid("crmsync", true);
        return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
    });
}

std::int64_t log_bytes(int which) {
    const Oid oid = log_oid(which);
    return pg::guard([&] {
        Relation log = try_relation_open(oid, AccessShareLock);
        if (log == nullptr) {
            return std::int64_t(0);
        }
        const auto blocks = static_cast<std::int64_t>(RelationGetNumberOfBlocks(log));
        relation_close(log, AccessShareLock);
        return blocks * BLCKSZ;
    });
}

// In a transaction. Returns whether something was consumed; nullopt: what was looked up was not
// there yet for this transaction, and would be missed.
std::optional<bool> consume_here() {
    const std::string since = position();
    if (since.empty()) {
        // The first time, or restored: what changed meanwhile is not in the log.
        compare_everything("true");
        store_position();
        return true;
    }
    const pg::Rows news = pg::query(take_new_markers, std::string_view(since), largest_fresh_change,
                                    static_cast<std::int64_t>(most_lookups) + 1);
    const std::vector<Lookup> lookups = lookups_of(news);
    mark_looked_up_records(lookups);
    if (!lookups.empty() && pg::has_read_rewritten_relation()) {
        return std::nullopt;
    }
    return news.boolean(0, 0);
}

// Whether all that is in this half was consumed.
bool is_consumed(int which) {
    return pg::query("SELECT FROM crmsync.change_log_" + std::to_string(which) +
                     " c LEFT JOIN crmsync.log_position p ON true "
                     "WHERE pg_catalog.pg_visible_in_snapshot(c.transaction, p.snapshot) "
                     "IS NOT TRUE LIMIT 1")
        .empty();
}

}  // namespace

bool ChangeLog::consume(bool always) {
    for (;;) {
        pg::Transaction transaction("consuming the change log");
        const std::optional<bool> consumed = consume_here();
        if (!consumed) {
            pg::check_interrupts();
            continue;
        }
        if (*consumed || always) {
            store_position();
            // Lost in a crash, it is consumed once more.
            transaction.commit_lazily();
        }
        return *consumed;
    }
}

void ChangeLog::rotate() {
    const int active = preload().active_log();
    const int other = 1 - active;
    pg::Transaction transaction("rotating the change log");
    if (log_bytes(other) > 0) {
        const Oid oid = log_oid(other);
        // The lock comes before the snapshot: whoever wrote into this half has ended by then.
        const bool locked =
            pg::guard([&] { return ConditionalLockRelationOid(oid, AccessExclusiveLock); });
        if (!locked) {
            return;
        }
        if (!is_consumed(other)) {
            return;
        }
        pg::empty_table(oid);
        transaction.commit();
    } else if (log_bytes(active) > rotation_bytes) {
        preload().set_active_log(other);
    }
}

}  // namespace crmsync
