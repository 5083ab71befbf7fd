#include "server/import/directory_merge.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/configuration/record_key.h"
#include "server/import/planned_without.h"
#include "server/postgres/error_text.h"
#include "server/postgres/preload.h"
#include "server/postgres/query.h"
#include "server/postgres/session.h"
#include "server/postgres/table.h"
#include "server/postgres/transaction.h"

namespace crmsync {

namespace {

// Of entries that have a failure.
void is_told_already(Slice, const pg::Error&) {}

}  // namespace

DirectoryMerge::DirectoryMerge(const DirectoryLink& link, const DirectoryRowReader& reader,
                               DirectoryOutcome& outcome, DirectoryFailures& failures)
    : link_(link),
      outcome_(outcome),
      failures_(failures),
      key_statement_(key_statement()),
      insert_statement_(insert_statement()),
      update_statement_(update_statement()) {
    for (std::size_t position = 0; position < link.mappings.size(); ++position) {
        if (const auto text = reader.disabled_value(position)) {
            enabled_columns_.push_back({position, *text, reader.left_mark(position)});
        }
    }
}

std::string DirectoryMerge::value(std::size_t position) const {
    return value(position, "e.v" + std::to_string(position));
}

std::string DirectoryMerge::value(std::size_t position, const std::string& text) const {
    const DirectoryMapping& mapping = link_.mappings[position];
    return mapping.inbound.empty()
               ? text + "::" + mapping.type
               : "pg_temp.crmsync_inbound_" + std::to_string(position) + "(" + text + ")";
}

// As text, which every type can be. The column may have a collation of its own, which has no say.
std::string DirectoryMerge::differs(std::size_t position, const std::string& value) const {
    return "t." + link_.mappings[position].column + "::text COLLATE \"C\" IS DISTINCT FROM (" +
           value + ")::text COLLATE \"C\"";
}

std::string DirectoryMerge::value_hash(std::size_t position) {
    const auto length = std::to_string(DirectoryRowReader::hash_length);
    const auto begin =
        std::to_string(DirectoryRowReader::hash_length * static_cast<int>(position) + 1);
    return "pg_catalog.substr(e.change_key, " + begin + ", " + length + ")";
}

std::string DirectoryMerge::changed(std::size_t position) {
    return "coalesce(pg_catalog.strpos(c.old_key, " + value_hash(position) + "), 0) = 0";
}

// New rows get their keys first, so that each is known to belong to its entry whatever RETURNING
// would say.
std::string DirectoryMerge::key_statement() const {
    std::string key = link_.key_default;
    for (std::size_t i = 0; i < link_.mappings.size(); ++i) {
        if (link_.mappings[i].column_is_key) {
            key = value(i);
        }
    }
    if (key.empty()) {
        throw pg::UserError(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                            "column " + link_.key_column + " of " + link_.source +
                                " has neither a default nor a mapping",
                            {}, "New rows need a key: map one, or give the column a default.");
    }
    return "INSERT INTO pg_temp.crmsync_created (entry, record) SELECT e.ctid, ((" + key +
           ")::" + link_.key_type +
           ")::text FROM pg_temp.crmsync_change c "
           "JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry "
           "WHERE c.record IS NULL AND e.problem IS NULL";
}

std::string DirectoryMerge::insert_statement() const {
    std::string columns = link_.key_column;
    std::string values = "d.record::" + link_.key_type;
    for (std::size_t i = 0; i < link_.mappings.size(); ++i) {
        if (!link_.mappings[i].column_is_key) {
            columns += ", " + link_.mappings[i].column;
            values += ", " + value(i);
        }
    }
    for (const DirectoryConstant& constant : link_.constants) {
        columns += ", " + constant.column;
        values += ", (" + constant.expression + "\n)::" + constant.type;
    }
    return "INSERT INTO " + link_.source + " (" + columns + ")" +
           (link_.key_is_always_generated ? " OVERRIDING SYSTEM VALUE" : "") + " SELECT " + values +
           " FROM pg_temp.crmsync_created d JOIN pg_temp.crmsync_entry e ON e.ctid = d.entry "
           "WHERE true";
}

// A column is set when its value in the directory changed since the last run.
std::string DirectoryMerge::update_statement() const {
    std::string assignments;
    std::string difference;
    for (std::size_t i = 0; i < link_.mappings.size(); ++i) {
        const DirectoryMapping& mapping = link_.mappings[i];
        if (mapping.column_is_key) {
            continue;
        }
        const std::string column = "t." + mapping.column;
        assignments += (assignments.empty() ? "" : ", ") + mapping.column + " = CASE WHEN " +
                       changed(i) + " THEN " + value(i) + " ELSE " + column + " END";
        difference +=
            (difference.empty() ? "" : " OR ") + changed(i) + " AND " + differs(i, value(i));
    }
    if (assignments.empty()) {
        return {};
    }
    return "UPDATE " + link_.source + " t SET " + assignments +
           " FROM pg_temp.crmsync_change c JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry "
           "WHERE c.record IS NOT NULL AND e.problem IS NULL AND t." +
           link_.key_column + " = c.record::" + link_.key_type + " AND (" + difference + ")";
}

void DirectoryMerge::merge() {
    std::int64_t blocks = 0;
    {
        pg::Transaction transaction("merging entries of link " + link_.name,
                                    pg::Transaction::read_committed);
        blocks = pg::blocks_of("pg_temp.crmsync_change");
        total_ = pg::query("SELECT pg_catalog.count(*) FROM pg_temp.crmsync_change").integer(0, 0);
        transaction.commit_lazily();
    }
    if (disables_ != Passage::held && refused_ > 0) {
        for_each_slice(blocks, [&](Slice slice) {
            disable_alone(slice, " AND e.problem IS NOT NULL", is_told_already);
        });
    }
    const SlicedWork work{[&](Slice slice) { merge_rows(slice); },
                          [&](Slice slice, const pg::Error& error) { fail(slice, error); }};
    // A login that is taken may be given up by another row later on: these are tried once more, the
    // last of a chain first.
    std::vector<std::pair<Slice, pg::Error>> taken;
    const SlicedWork first{
        work.run, [&](Slice slice, const pg::Error& error) {
            if (error.sqlstate == ERRCODE_UNIQUE_VIOLATION && taken.size() < most_failures) {
                taken.emplace_back(slice, error);
            } else {
                fail(slice, error);
            }
        }};
    try {
        for_each_slice(blocks, [&](Slice slice) {
            run_halved(slice, first);
            preload().set_progress(link_.id, "merging", done_, total_);
        });
        while (!taken.empty()) {
            const Slice slice = taken.back().first;
            taken.pop_back();
            run_halved(slice, work);
        }
    } catch (const GivenUp&) {
        for (const auto& [slice, error] : taken) {
            note_failure(slice, error);
        }
        if (disables_ != Passage::held) {
            for_each_slice(blocks, [&](Slice slice) {
                disable_alone(slice, {},
                              [&](Slice row, const pg::Error& error) { note_failure(row, error); });
            });
        }
    }
}

void DirectoryMerge::merge_rows(Slice slice) {
    pg::Transaction transaction("merging entries of link " + link_.name,
                                pg::Transaction::read_committed);
    hold_mailbox();
    check_still_runs(link_);
    const std::string within = lies_within("c", slice);
    const pg::Rows counts = pg::query(
        "SELECT pg_catalog.count(*) FILTER (WHERE record IS NULL), pg_catalog.count(record), "
        "pg_catalog.min(entry)::text, pg_catalog.max(entry)::text FROM pg_temp.crmsync_change c "
        "WHERE entry IS NOT NULL" +
            within,
        {}, {.once = true});
    const std::int64_t unknown = counts.integer(0, 0);
    const std::int64_t known = counts.integer(0, 1);
    const std::string entries = unknown + known == 0
                                    ? std::string()
                                    : " AND e.ctid >= '" + counts.string(0, 2) +
                                          "' AND e.ctid <= '" + counts.string(0, 3) + "'";
    std::int64_t created = 0;
    std::int64_t updated = 0;
    std::int64_t disabled = 0;
    // First: a login that one of these gives up may be that of somebody new.
    if (known > 0 || slice.empty()) {
        disabled = count_disabled(within + entries);
        updated = update_rows(within + entries);
    }
    if (unknown > 0 || slice.empty()) {
        created = insert_rows(within + entries, entries);
    }
    count_deletes(link_, disables_, disabled);
    transaction.commit_lazily();
    outcome_.disabled += disabled;
    done_ += unknown + known;
    outcome_.created += created;
    outcome_.updated += updated;
}

// To the end of the transaction: the mailbox must not go while it gets items. Before any row of the
// CRM, so that nobody there waits as well.
void DirectoryMerge::hold_mailbox() const {
    const LocalLockTimeout timeout(std::nullopt);
    pg::query("SELECT FROM crmsync.mailbox WHERE id = $1 FOR KEY SHARE", link_.mailbox);
    timeout.end();
}

// Returns how many.
std::int64_t DirectoryMerge::insert_rows(const std::string& within, const std::string& entries) {
    const pg::QueryOptions as_owner{.owner = link_.owner, .once = true};
    std::uint64_t keys = pg::query(key_statement_ + within, {}, as_owner).size();
    keys -= refuse_long_keys("crmsync_created");
    const pg::Rows inserted = pg::query(insert_statement_ + entries, {}, as_owner);
    if (link_.triggers_may_interfere || inserted.size() != keys) {
        forget_rows_that_are_not_there();
    }
    const pg::Parameter parameters[] = {link_.id, link_.mailbox};
    if (link_.had_items) {
        // A key can come back after its row was deleted in the CRM.
        const PlannedWithout planning(PlanStep::nested_loop);
        pg::query(
            "DELETE FROM crmsync.item i USING pg_temp.crmsync_created d "
            "WHERE i.link = $1 AND i.mailbox = $2 AND i.record = d.record",
            parameters, {.once = true});
        planning.end();
    }
    const pg::Rows items = pg::query(
        "INSERT INTO crmsync.item (link, record, mailbox, remote_id, change_key, origin) "
        "SELECT $1, d.record, $2, e.key, e.change_key, 'mailbox' FROM pg_temp.crmsync_created d "
        "JOIN pg_temp.crmsync_entry e ON e.ctid = d.entry WHERE true" +
            entries,
        parameters, {.once = true});
    pg::query("TRUNCATE pg_temp.crmsync_created", {}, {.once = true});
    return static_cast<std::int64_t>(items.size());
}

// Rows of a staging table whose keys our tables do not hold; their entries fail.
std::uint64_t DirectoryMerge::refuse_long_keys(const std::string& table) {
    const pg::Rows refused =
        pg::query("WITH k AS (DELETE FROM pg_temp." + table +
                      " WHERE pg_catalog.octet_length(record) > $1 RETURNING entry, record) "
                      "SELECT e.dn, pg_catalog.max(pg_catalog.octet_length(k.record)) FROM k "
                      "JOIN pg_temp.crmsync_entry e ON e.ctid = k.entry GROUP BY e.ctid, e.dn",
                  static_cast<std::int32_t>(longest_key));
    for (std::uint64_t row = 0; row < refused.size(); ++row) {
        failures_.write(refused.string(row, 0), "KEY",
                        "the key would have " + refused.display(row, 1) +
                            " bytes, and a key may have " + std::to_string(longest_key));
    }
    return refused.size();
}

// A trigger of the CRM may keep a row out, or give it another key.
void DirectoryMerge::forget_rows_that_are_not_there() {
    pg::query(
        "INSERT INTO pg_temp.crmsync_match (entry) SELECT d.entry "
        "FROM pg_temp.crmsync_created d WHERE NOT EXISTS (SELECT FROM " +
            link_.source + " t WHERE t." + link_.key_column + " = d.record::" + link_.key_type +
            ")",
        {}, {.owner = link_.owner});
    const pg::Rows skipped = pg::query(
        "WITH m AS (DELETE FROM pg_temp.crmsync_match RETURNING entry), "
        "d AS (DELETE FROM pg_temp.crmsync_created d USING m WHERE d.entry = m.entry) "
        "SELECT e.dn FROM m JOIN pg_temp.crmsync_entry e ON e.ctid = m.entry");
    for (std::uint64_t row = 0; row < skipped.size(); ++row) {
        failures_.write(skipped.string(row, 0), "SKIPPED",
                        "a trigger of " + link_.source +
                            " kept the row from being inserted, or gave it another key");
    }
}

// Likewise; items also of rows that have the values already.
std::int64_t DirectoryMerge::update_rows(const std::string& within) {
    std::int64_t count = 0;
    if (!update_statement_.empty()) {
        const pg::Rows updated =
            pg::query(update_statement_ + within, {}, {.owner = link_.owner, .once = true});
        count = static_cast<std::int64_t>(updated.size());
    }
    note_items("e.change_key", " AND e.problem IS NULL" + within);
    return count;
}

// Rows that were there before belong to these entries, of which so much has been brought in.
void DirectoryMerge::note_items(const std::string& change_key, const std::string& which) const {
    const pg::Parameter parameters[] = {link_.id, link_.mailbox};
    pg::query(
        "INSERT INTO crmsync.item AS i (link, record, mailbox, remote_id, change_key, origin) "
        "SELECT $1, c.record, $2, c.key, " +
            change_key +
            ", 'adopted' FROM pg_temp.crmsync_change c "
            "JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry WHERE c.record IS NOT NULL" +
            which +
            " ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
            "change_key = excluded.change_key, state = 'linked', confirmed = false, "
            "since = CASE i.state WHEN 'linked' THEN i.since ELSE pg_catalog.now() END",
        parameters, {.once = true});
}

void DirectoryMerge::note_failure(Slice slice, const pg::Error& error) {
    const std::string row = first_row(slice);
    pg::Transaction transaction("recording a failure of link " + link_.name,
                                pg::Transaction::read_committed);
    const pg::Rows rows = pg::query(
        "SELECT coalesce(c.record, e.dn, c.key), c.record IS NULL FROM pg_temp.crmsync_change c "
        "LEFT JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry WHERE c.ctid = $1::tid",
        std::string_view(row));
    if (rows.empty()) {
        return;
    }
    failures_.write(rows.string(0, 0), error.code(), error_text(error));
    transaction.commit_lazily();
    strangers_ += rows.integer(0, 1);
    ++failed_;
}

void DirectoryMerge::fail(Slice slice, const pg::Error& error) {
    note_failure(slice, error);
    ++done_;
    if (disables_ != Passage::held) {
        disable_alone(slice, {}, is_told_already);
    }
    if (failed_ > most_failures) {
        too_many_ = "more than " + std::to_string(most_failures) +
                    " entries could not be merged; the last: " + error_text(error);
        throw GivenUp{};
    }
}

}  // namespace crmsync
