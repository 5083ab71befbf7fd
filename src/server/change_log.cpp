#include "server/change_log.h"

#include <string>
#include <vector>

#include "server/boundary.h"

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

#include "server/preload.h"
#include "server/query.h"
#include "server/subtransaction.h"
#include "server/transaction.h"

namespace crmsync {

namespace {

// A half this large is emptied as soon as it can be; smaller ones cost less to read than to empty.
constexpr std::int64_t rotation_bytes = 1 << 20;

// More records than this at once are a backlog: small fresh changes go before them.
constexpr int largest_fresh_change = 1000;

// More values than this are not looked up one by one: the link is compared as a whole.
constexpr std::int64_t most_lookups = 20'000;

const std::string new_markers =
    "(SELECT capture, value FROM crmsync.change_log_0 "
    "WHERE NOT pg_catalog.pg_visible_in_snapshot(transaction, $1::pg_catalog.pg_snapshot) "
    "UNION SELECT capture, value FROM crmsync.change_log_1 "
    "WHERE NOT pg_catalog.pg_visible_in_snapshot(transaction, $1::pg_catalog.pg_snapshot)) ";

void compare_everything(std::string_view condition) {
    pg::query(
        "INSERT INTO crmsync.link_state AS s (link, comparison) "
        "SELECT id, 'everything' FROM crmsync.link WHERE enabled AND " +
        std::string(condition) + " ON CONFLICT (link) DO UPDATE SET comparison = 'everything'");
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

void mark_named_records(std::string_view since) {
    pg::query(
        "INSERT INTO crmsync.pending AS p (link, tier, record) "
        "SELECT link, CASE WHEN pg_catalog.count(*) OVER (PARTITION BY link) > $2 "
        "THEN 1 ELSE 0 END, value "
        "FROM (SELECT DISTINCT c.link, m.value FROM " +
            new_markers +
            "AS m "
            "JOIN crmsync.capture_link c USING (capture) "
            "JOIN crmsync.link l ON l.id = c.link AND l.enabled "
            "WHERE c.lookup IS NULL AND m.value IS NOT NULL) AS named "
            "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        since, largest_fresh_change);
    // What was given up is given up no more: the record has changed.
    if (!pg::query("SELECT FROM crmsync.failure LIMIT 1").empty()) {
        pg::query(
            "UPDATE crmsync.failure f SET next_attempt = pg_catalog.now() "
            "FROM (SELECT c.link, m.value FROM " +
                new_markers +
                "AS m "
                "JOIN crmsync.capture_link c USING (capture) "
                "WHERE c.lookup IS NULL AND m.value IS NOT NULL) AS named "
                "WHERE f.link = named.link AND f.record = named.value "
                "AND f.code <> 'postponed' "
                "AND (f.next_attempt IS NULL OR f.next_attempt > pg_catalog.now())",
            since);
    }
}

void request_comparisons(std::string_view since) {
    pg::query(
        "INSERT INTO crmsync.link_state AS s (link, comparison) "
        "SELECT c.link, pg_catalog.max(c.comparison) FROM " +
            new_markers +
            "AS m "
            "JOIN crmsync.capture_link c USING (capture) "
            "JOIN crmsync.link l ON l.id = c.link AND l.enabled "
            "WHERE m.value IS NULL GROUP BY c.link "
            "ON CONFLICT (link) DO UPDATE SET comparison = "
            "CASE WHEN s.comparison = 'everything' THEN s.comparison ELSE excluded.comparison END",
        since);
}

// The records that a watched value leads to, by the query that the link's owner wrote.
void look_up(int link, Oid owner, const std::string& lookup, const pg::TextArray& values) {
    // Keys of any type, in the text form that the change log and items have them in.
    const std::string keys = "SELECT found.key::text FROM (" + lookup + "\n) AS found (key)";
    pg::TextArray records;
    for (const std::string& value : values) {
        const pg::Rows rows = pg::query_as(owner, keys, std::string_view(value));
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            if (!rows.is_null(row, 0)) {
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
        link, &records, static_cast<std::int32_t>(records.size()), largest_fresh_change);
}

void mark_looked_up_records(std::string_view since) {
    const pg::Rows lookups = pg::query(
        "SELECT c.link, c.lookup, pg_catalog.to_regrole(l.owner)::oid, pg_catalog.count(*), "
        "c.capture FROM " +
            new_markers +
            "AS m "
            "JOIN crmsync.capture_link c USING (capture) "
            "JOIN crmsync.link l ON l.id = c.link AND l.enabled "
            "WHERE c.lookup IS NOT NULL AND m.value IS NOT NULL "
            "GROUP BY c.link, c.capture, c.lookup, l.owner",
        since);
    for (std::uint64_t row = 0; row < lookups.size(); ++row) {
        const int link = static_cast<int>(lookups.integer(row, 0));
        const auto owner = static_cast<Oid>(lookups.integer(row, 2));
        const std::string only_this = "id = " + std::to_string(link);
        if (!OidIsValid(owner) || lookups.integer(row, 3) > most_lookups) {
            compare_everything(only_this);
            continue;
        }
        const auto capture = static_cast<std::int32_t>(lookups.integer(row, 4));
        const pg::Rows rows = pg::query("SELECT m.value FROM " + new_markers +
                                            "AS m "
                                            "WHERE m.capture = $2 AND m.value IS NOT NULL",
                                        since, capture);
        pg::TextArray values;
        for (std::uint64_t i = 0; i < rows.size(); ++i) {
            values.push_back(rows.string(i, 0));
        }
        // A lookup that fails concerns its own link: that one is compared instead.
        if (pg::subtransaction([&] { look_up(link, owner, lookups.string(row, 1), values); })) {
            compare_everything(only_this);
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

// In a transaction. Returns true when something was consumed.
bool consume_here() {
    const std::string since = position();
    if (since.empty()) {
        // The first time, or restored: what changed meanwhile is not in the log.
        compare_everything("true");
        store_position();
        return true;
    }
    const pg::Rows seen =
        pg::query("SELECT pg_catalog.bool_or(true), pg_catalog.bool_or(value IS NULL) FROM " +
                      new_markers + "AS m",
                  std::string_view(since));
    if (!seen.boolean(0, 0)) {
        return false;
    }
    mark_named_records(since);
    mark_looked_up_records(since);
    if (seen.boolean(0, 1)) {
        request_comparisons(since);
    }
    return true;
}

}  // namespace

bool ChangeLog::consume(bool always) {
    pg::Transaction transaction("consuming the change log");
    const bool consumed = consume_here();
    if (consumed || always) {
        store_position();
        transaction.commit();
    }
    return consumed;
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
        if (consume_here()) {
            store_position();
        }
        pg::query(other == 0 ? "TRUNCATE crmsync.change_log_0" : "TRUNCATE crmsync.change_log_1");
        transaction.commit();
    } else if (log_bytes(active) > rotation_bytes) {
        preload().set_active_log(other);
    }
}

}  // namespace crmsync
