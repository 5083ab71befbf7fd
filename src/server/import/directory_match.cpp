// Entries that are seen for the first time may belong to rows that the CRM has already: match_on
// names the properties by which they know each other. Both sides are compared in one form, in which
// neither case, nor white space, nor how a character is written makes a difference. A pair must be
// unambiguous on both sides: else the entry becomes a failure, and nothing is done for it. Whoever
// is met in this way is in the directory, even if his entry is ambiguous, has a problem, or is
// refused.
#include "server/configuration/comparable_text.h"
#include "server/configuration/record_key.h"
#include "server/import/directory_merge.h"
#include "server/import/directory_staging.h"
#include "server/import/planned_without.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

// Between the parts of a key of several properties; no value has it, see comparable_text().
constexpr const char* separator_expression = "pg_catalog.chr(31)";

}  // namespace

// What the link's owner wrote runs as the owner, when the functions are called. A value that has no
// place in its column matches nothing: the attempt to insert it says what is wrong.
void DirectoryMerge::create_match_functions() const {
    std::string key;
    for (std::size_t i = 0; i < link_.match_on.size(); ++i) {
        const auto position = static_cast<std::size_t>(link_.match_on[i]);
        key += (i == 0 ? "" : std::string(" || ") + separator_expression + " || ") +
               "pg_temp.crmsync_comparable((" + value(position, "$" + std::to_string(i + 1)) +
               ")::text)";
    }
    std::string types;
    for (std::size_t i = 0; i < link_.match_on.size(); ++i) {
        types += i == 0 ? "text" : ", text";
    }
    pg::query(
        "CREATE FUNCTION pg_temp.crmsync_comparable(text) RETURNS text LANGUAGE sql "
        "IMMUTABLE AS " +
            literal("SELECT " + comparable_text("$1")),
        {}, {.once = true});
    pg::query("CREATE FUNCTION pg_temp.crmsync_match_key(" + types +
                  ") RETURNS text LANGUAGE plpgsql AS " +
                  literal("BEGIN RETURN " + key +
                          "; EXCEPTION WHEN data_exception OR integrity_constraint_violation OR "
                          "plpgsql_error THEN RETURN NULL; END"),
              {}, {.once = true});
}

// Notes the keys of entries that no row belongs to, but for those that are empty. Returns whether
// there are any.
bool DirectoryMerge::seek() const {
    std::string values;
    for (const int position : link_.match_on) {
        values += (values.empty() ? "e.v" : ", e.v") + std::to_string(position);
    }
    const pg::QueryOptions as_owner{.owner = link_.owner, .once = true};
    if (pg::query("SELECT FROM " + link_.source + " LIMIT 1", {}, as_owner).empty()) {
        return false;
    }
    pg::query(
        "INSERT INTO pg_temp.crmsync_sought (entry, key) SELECT c.entry, "
        "pg_temp.crmsync_match_key(" +
            values +
            ") FROM pg_temp.crmsync_change c "
            "JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry WHERE c.record IS NULL",
        {}, as_owner);
    pg::query("DELETE FROM pg_temp.crmsync_sought WHERE coalesce(pg_catalog.btrim(key, " +
                  std::string(separator_expression) + "), '') = ''",
              {}, {.once = true});
    pg::query("ANALYZE pg_temp.crmsync_sought", {}, {.once = true});
    return !pg::query("SELECT FROM pg_temp.crmsync_sought LIMIT 1", {}, {.once = true}).empty();
}

void DirectoryMerge::find_matches() {
    std::string key;
    for (const int position : link_.match_on) {
        key += (key.empty() ? "" : std::string(" || ") + separator_expression + " || ") +
               "pg_temp.crmsync_comparable(t." +
               link_.mappings[static_cast<std::size_t>(position)].column + "::text)";
    }
    pg::query("INSERT INTO pg_temp.crmsync_match (entry, record) SELECT s.entry, t." +
                  link_.key_column + "::text FROM pg_temp.crmsync_sought s JOIN " + link_.source +
                  " t ON s.key = (" + key + ") COLLATE \"C\"",
              {}, {.owner = link_.owner, .once = true});
    const PlannedWithout planning(PlanStep::nested_loop);
    pg::query(
        "DELETE FROM pg_temp.crmsync_change c USING pg_temp.crmsync_match m "
        "WHERE c.entry = m.entry AND pg_catalog.octet_length(m.record) > $1",
        static_cast<std::int32_t>(longest_key));
    refuse_long_keys("crmsync_match");
    // A row that belongs to an entry which is still there is not to be had.
    pg::query(
        "DELETE FROM pg_temp.crmsync_match m USING crmsync.item i WHERE i.link = $1 "
        "AND i.record = m.record AND i.mailbox = $2 AND i.state = 'linked' AND EXISTS "
        "(SELECT FROM pg_temp.crmsync_entry e WHERE e.key = i.remote_id)",
        link_.id, link_.mailbox);
    pg::query("INSERT INTO pg_temp.crmsync_met (record) SELECT record FROM pg_temp.crmsync_match",
              {}, {.once = true});
    planning.end();
}

void DirectoryMerge::adopt() {
    if (link_.match_on.empty()) {
        return;
    }
    create_match_functions();
    if (!seek()) {
        return;
    }
    find_matches();
    const PlannedWithout planning(PlanStep::nested_loop);
    const pg::Rows ambiguous = pg::query(
        "WITH a AS (SELECT entry FROM (SELECT entry, pg_catalog.count(*) OVER (PARTITION BY entry) "
        "AS records, pg_catalog.count(*) OVER (PARTITION BY record) AS entries "
        "FROM pg_temp.crmsync_match) m WHERE records > 1 OR entries > 1 GROUP BY entry), "
        "g AS (DELETE FROM pg_temp.crmsync_match m USING a WHERE m.entry = a.entry), "
        "s AS (DELETE FROM pg_temp.crmsync_change c USING a WHERE c.entry = a.entry) "
        "SELECT e.dn FROM a JOIN pg_temp.crmsync_entry e ON e.ctid = a.entry");
    for (std::uint64_t row = 0; row < ambiguous.size(); ++row) {
        failures_.write(ambiguous.string(row, 0), "AMBIGUOUS",
                        "several rows of " + link_.source + " or several entries match each other");
    }
    pg::query(
        "UPDATE pg_temp.crmsync_change c SET record = m.record "
        "FROM pg_temp.crmsync_match m WHERE m.entry = c.entry");
    planning.end();
    pg::query("TRUNCATE pg_temp.crmsync_match, pg_temp.crmsync_sought", {}, {.once = true});
}

}  // namespace crmsync
