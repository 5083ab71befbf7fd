#include "server/worker/comparison_tables.h"

#include <optional>
#include <span>

#include "server/configuration/record_key.h"
#include "server/postgres/divided_reading.h"
#include "server/postgres/subtransaction.h"
#include "server/postgres/table.h"

namespace crmsync {

namespace {

using Parameters = std::span<const pg::Parameter>;

// Of keys that are read together where they cannot be read all at once: some 200 a block.
constexpr std::int64_t blocks_of_keys = 50;

// Where the audience fails for more records than this it is the audience that is to be mended.
constexpr std::size_t most_unreadable = 1000;

void make_table(const LinkConfiguration& link, const std::string& table, const char* columns) {
    once("CREATE TEMPORARY TABLE " + table + " (" + columns + ")", link.id);
    once("GRANT INSERT ON " + table + " TO " + role_name(link.owner), link.id);
}

void fill_table(const LinkConfiguration& link, const std::string& table, const std::string& query,
                Parameters parameters = {}) {
    pg::query("INSERT INTO pg_temp." + table + " " + query, parameters, {.owner = link.owner});
}

// A table that is made of rows of the audience.
struct AudienceTable {
    std::string name;
    const char* columns;
    std::string before;  // and after the query of the audience
    std::string after;
};

pg::TextArray keys_between(std::int64_t block, std::int64_t end) {
    const pg::Rows rows = pg::query(
        "SELECT key FROM pg_temp.crmsync_keys WHERE ctid >= ('(' || $1::bigint || ',0)')::tid "
        "AND ctid < ('(' || $2::bigint || ',0)')::tid",
        block, end);
    pg::TextArray keys;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        keys.push_back(rows.string(row, 0));
    }
    return keys;
}

// By the keys of the source, until those stand alone that are to blame.
void read_by_keys(const LinkConfiguration& link, const AudienceTable& table) {
    make_table(link, table.name, table.columns);
    make_table(link, "crmsync_keys", "key text COLLATE \"C\"");
    const pg::Rows known =
        pg::query("SELECT crmsync.key_query($1), crmsync.record_type($1)", link.id);
    fill_table(
        link, "crmsync_keys",
        "SELECT DISTINCT k.key FROM (" + known.string(0, 0) + ") AS k WHERE k.key IS NOT NULL");
    const std::string of_keys = table.before + link.audience_all_query +
                                " AND a.record = ANY ($1::text[]::" + known.string(0, 1) + "[])" +
                                table.after;
    // Where it fails without a key, no key is to blame, and to look for one would take for ever.
    const pg::TextArray none;
    const pg::Parameter no_keys[] = {&none};
    fill_table(link, table.name, of_keys, no_keys);
    std::optional<pg::Error> last;
    std::size_t unreadable = 0;
    const std::int64_t blocks = pg::blocks_of("pg_temp.crmsync_keys");
    for (std::int64_t block = 0; block < blocks; block += blocks_of_keys) {
        read_divided(
            keys_between(block, block + blocks_of_keys),
            [&](const pg::TextArray& keys) {
                const pg::Parameter parameters[] = {&keys};
                fill_table(link, table.name, of_keys, parameters);
            },
            [&](const std::string& key, const pg::Error& error) {
                if (++unreadable > most_unreadable) {
                    throw pg::Error(error);
                }
                if (key.size() <= longest_kept_key) {
                    pg::query("INSERT INTO pg_temp.crmsync_unreadable VALUES ($1)",
                              std::string_view(key));
                }
                last = error;
            });
    }
    if (last && pg::query("SELECT FROM pg_temp." + table.name + " LIMIT 1").empty()) {
        throw pg::Error(*last);
    }
}

// A row that makes it fail is its record's matter, and of no other: the resident worker parks it.
void read_into(const LinkConfiguration& link, const AudienceTable& table, const std::string& query,
               Parameters parameters = {}) {
    once("CREATE TEMPORARY TABLE crmsync_unreadable (record text COLLATE \"C\")", link.id);
    const std::optional<pg::Error> error = pg::subtransaction([&] {
        make_table(link, table.name, table.columns);
        fill_table(link, table.name, table.before + query + table.after, parameters);
    });
    if (!error) {
        return;
    }
    pg::check_interrupts();
    if (!concerns_values(error->code())) {
        throw pg::Error(*error);
    }
    read_by_keys(link, table);
}

const AudienceTable audience_table{"crmsync_audience",
                                   "record text COLLATE \"C\", mailbox text COLLATE \"C\"",
                                   "SELECT DISTINCT a.record, a.mailbox FROM (", ") AS a"};

LeftOut read_counts(const pg::Rows& rows) {
    return {rows.integer(0, 0), rows.integer(0, 1)};
}

LeftOut leave_out(const LinkConfiguration& link) {
    const LeftOut left_out = read_counts(pg::query(
        "WITH gone AS (DELETE FROM pg_temp.crmsync_audience WHERE mailbox IS NULL "
        "OR pg_catalog.octet_length(mailbox) > $2 OR pg_catalog.octet_length(record) > $1 "
        "RETURNING record, pg_catalog.octet_length(record) > $1 AS is_long) "
        "SELECT pg_catalog.count(DISTINCT record) FILTER (WHERE NOT is_long), "
        "pg_catalog.count(DISTINCT record) FILTER (WHERE is_long) FROM gone",
        static_cast<std::int32_t>(longest_kept_key), static_cast<std::int32_t>(longest_address)));
    once("ANALYZE pg_temp.crmsync_audience", link.id);
    return left_out;
}

pg::TextArray returned_mailboxes() {
    const pg::Rows rows = pg::query("SELECT mailbox FROM pg_temp.crmsync_returned");
    pg::TextArray addresses;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        addresses.push_back(rows.string(row, 0));
    }
    return addresses;
}

}  // namespace

void once(const std::string& sql, int link) {
    const pg::Parameter parameters[] = {link};
    pg::query(sql, Parameters(parameters, sql.find("$1") != std::string::npos ? 1 : 0),
              {.once = true});
}

void read_mailboxes(const LinkConfiguration& link) {
    if (!link.mailboxes_query.empty()) {
        make_table(
            link, "crmsync_mailboxes",
            "mailbox text COLLATE \"C\", takes_part boolean, automatic boolean, target text");
        fill_table(link, "crmsync_mailboxes",
                   "SELECT p.mailbox, p.enabled, p.automatic, p.target FROM (" +
                       link.mailboxes_query + ") AS p");
        once(
            "UPDATE pg_temp.crmsync_mailboxes p SET takes_part = false WHERE NOT p.automatic "
            "AND NOT EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = $1 "
            "AND m.address = p.mailbox AND m.started IS NOT NULL)",
            link.id);
        once("ANALYZE pg_temp.crmsync_mailboxes", link.id);
        once(
            "CREATE TEMPORARY TABLE crmsync_returned AS SELECT p.mailbox, m.id "
            "FROM pg_temp.crmsync_mailboxes p "
            "LEFT JOIN crmsync.mailbox m ON m.link = $1 AND m.address = p.mailbox "
            "WHERE p.takes_part AND (m.took_part IS NOT TRUE OR p.target <> "
            "coalesce(m.target, (SELECT l.target FROM crmsync.link l WHERE l.id = $1)))",
            link.id);
    }
}

LeftOut read_records(const LinkConfiguration& link) {
    const AudienceTable table{"crmsync_records",
                              "record text COLLATE \"C\", rows bigint, rows_with_mailbox bigint",
                              "SELECT a.record, pg_catalog.count(*), "
                              "pg_catalog.count(nullif(pg_catalog.octet_length(a.mailbox) <= " +
                                  std::to_string(longest_address) + ", false)) FROM (",
                              ") AS a GROUP BY a.record"};
    read_into(link, table,
              link.audience_all_query.empty()
                  ? "SELECT NULL::text AS record, NULL::text AS mailbox WHERE false"
                  : link.audience_all_query);
    return read_counts(pg::query(
        "SELECT pg_catalog.count(*) FILTER (WHERE r.rows_with_mailbox < r.rows AND NOT k.is_long), "
        "pg_catalog.count(*) FILTER (WHERE k.is_long) FROM pg_temp.crmsync_records r "
        "CROSS JOIN LATERAL (SELECT pg_catalog.octet_length(r.record) > $1) AS k(is_long)",
        static_cast<std::int32_t>(longest_kept_key)));
}

LeftOut read_audience(const LinkConfiguration& link) {
    read_into(link, audience_table, link.audience_all_query);
    return leave_out(link);
}

void read_returned_audience(const LinkConfiguration& link) {
    const pg::TextArray addresses = returned_mailboxes();
    const pg::Parameter parameters[] = {&addresses};
    read_into(link, audience_table,
              pg::query("SELECT crmsync.audience_in_query($1)", link.id).string(0, 0), parameters);
    leave_out(link);
}

}  // namespace crmsync
