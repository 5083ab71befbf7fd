#include "server/state/pending_records.h"

#include <algorithm>
#include <string_view>

#include "server/postgres/array_rows.h"

namespace crmsync {

namespace {

// What is read at once keeps what was changed just now waiting meanwhile.
constexpr int most_records = 500;
constexpr double wanted_pairs = 1000;

}  // namespace

int PendingPosition::limit() const {
    return std::clamp(static_cast<int>(wanted_pairs / pairs_per_record), 1,
                      std::max(1, most_records / divisor));
}

void PendingPosition::learn(std::size_t records, std::size_t pairs) {
    pairs_per_record = std::max(0.5, static_cast<double>(pairs) / static_cast<double>(records));
    divisor = std::max(1, divisor / 2);
}

bool PendingPosition::shrink() {
    if (divisor >= most_records) {
        return false;
    }
    divisor *= 4;
    return true;
}

PendingRecords read_pending(int link, const sync::WorkInFlight& in_flight,
                            PendingPosition& position, bool& more) {
    PendingRecords records;
    more = true;
    const int limit = position.limit();
    const bool from_start = position.at_start();
    position.took = position.took && !from_start;
    for (int tier = 0; tier < 2; ++tier) {
        const int wanted = limit - static_cast<int>(records.size());
        if (wanted <= 0) {
            position.took = true;
            return records;
        }
        // A key may be the empty text, which is after nothing.
        const pg::Rows rows = pg::query(
            "SELECT record, version FROM crmsync.pending WHERE link = $1 AND tier = $2 AND "
            "record " +
                std::string(position.after[tier] ? ">" : ">=") + " $3 ORDER BY record LIMIT $4",
            link, tier, std::string_view(position.after[tier].value_or(std::string())), wanted);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            sync::PendingRow pending{link, tier, rows.string(row, 0), rows.integer(row, 1)};
            if (!in_flight.covers(pending)) {
                records[pending.record].push_back(std::move(pending));
            }
        }
        const bool whole = rows.size() == static_cast<std::uint64_t>(wanted);
        position.after[tier] =
            whole ? std::optional(rows.string(rows.size() - 1, 0)) : std::nullopt;
    }
    position.took |= !records.empty();
    more = !position.at_start() || (!from_start && position.took);
    return records;
}

std::string become_pending(const std::string& rows) {
    return "INSERT INTO crmsync.pending AS p (link, tier, record) "
           "SELECT DISTINCT link, 1, record FROM " +
           rows + " ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1";
}

void make_pending(int link, const pg::TextArray& records) {
    pg::query(
        "INSERT INTO crmsync.pending AS p (link, tier, record) SELECT DISTINCT $1, 0, u.record "
        "FROM unnest($2::text[]) AS u(record) ON CONFLICT (link, tier, record) "
        "DO UPDATE SET version = p.version + 1",
        link, &records);
}

std::int64_t count_pending(int link) {
    return pg::query("SELECT pg_catalog.count(*) FROM crmsync.pending WHERE link = $1", link)
        .integer(0, 0);
}

void settle_pending(const std::vector<sync::PendingRow>& rows) {
    if (rows.empty()) {
        return;
    }
    pg::IntegerArray links;
    pg::IntegerArray tiers;
    pg::TextArray records;
    pg::BigintArray versions;
    for (const sync::PendingRow& row : rows) {
        links.push_back(row.link);
        tiers.push_back(row.tier);
        records.push_back(row.record);
        versions.push_back(row.version);
    }
    // A row that was named again meanwhile has another version, and stays.
    pg::query(
        "DELETE FROM crmsync.pending p "
        "USING " +
            array_rows({{"link", "integer"},
                        {"tier", "integer"},
                        {"record", "text"},
                        {"version", "bigint"}}) +
            "WHERE p.link = u.link AND p.tier = u.tier AND p.record = u.record "
            "AND p.version = u.version",
        &links, &tiers, &records, &versions);
}

void note_waiting(int link, const pg::TextArray& looked_at, const pg::TextArray& waiting) {
    if (waiting.empty() &&
        pg::query("SELECT FROM crmsync.waiting WHERE link = $1 LIMIT 1", link).empty()) {
        return;
    }
    pg::query(
        "WITH over AS (DELETE FROM crmsync.waiting WHERE link = $1 AND record = ANY ($2) "
        "AND record <> ALL ($3)) INSERT INTO crmsync.waiting (link, record) "
        "SELECT $1, u.record FROM unnest($3::text[]) AS u(record) "
        "ON CONFLICT (link, record) DO NOTHING",
        link, &looked_at, &waiting);
}

}  // namespace crmsync
