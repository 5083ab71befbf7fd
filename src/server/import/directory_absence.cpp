// What follows from absence: users who are no longer in the directory, or no longer enabled there.
// Both pass the guard, since a wrong base or attribute makes everybody look that way.
#include <algorithm>
#include <set>

#include "server/import/directory_merge.h"
#include "server/import/directory_others.h"
#include "server/import/directory_slices.h"
#include "server/import/directory_staging.h"
#include "server/import/planned_without.h"
#include "server/postgres/query.h"
#include "server/postgres/subtransaction.h"
#include "server/postgres/transaction.h"

namespace crmsync {

namespace {

// Bounds what a transaction locks.
constexpr std::int64_t most_records = 10'000;

constexpr const char* changed_entries =
    "pg_temp.crmsync_change c JOIN pg_temp.crmsync_entry e ON e.ctid = c.entry";

// The row of item i was met under no other key.
constexpr const char* is_not_met_again =
    " AND NOT EXISTS (SELECT FROM pg_temp.crmsync_met n WHERE n.record = i.record)";

}  // namespace

std::string DirectoryMerge::of_columns(const EnabledColumns& columns, const std::string& separator,
                                       const ColumnText& text) {
    std::string all;
    for (const EnabledColumn& column : columns) {
        all += (all.empty() ? "" : separator) + text(column);
    }
    return all;
}

// Returns those that could be set.
DirectoryMerge::EnabledColumns DirectoryMerge::set_columns(Columns how,
                                                           const SetColumns& set) const {
    if (how == Columns::together) {
        set(enabled_columns_);
        return enabled_columns_;
    }
    EnabledColumns all;
    for (const EnabledColumn& column : enabled_columns_) {
        const auto error = pg::subtransaction([&] { set({column}); });
        if (!error) {
            all.push_back(column);
        } else if (!may_be_about_one_row(*error)) {
            throw pg::Error(*error);
        }
    }
    return all;
}

std::string DirectoryMerge::disabling_value(const EnabledColumn& column) const {
    return value(column.position, literal(column.disabled));
}

// Whether the entry says in this column that he is disabled, and did not in the last run.
std::string DirectoryMerge::has_been_disabled(const EnabledColumn& column) {
    return "e.v" + std::to_string(column.position) + " = " + literal(column.disabled) + " AND " +
           changed(column.position);
}

// Whether row t would be disabled in this column by its entry and is not yet. The value stands
// there as a constant: what is wrong with another entry's cannot show.
std::string DirectoryMerge::is_to_be_disabled(const EnabledColumn& column) const {
    return has_been_disabled(column) + " AND " + differs(column.position, disabling_value(column));
}

std::string DirectoryMerge::is_to_be_disabled(const EnabledColumns& columns) const {
    return "c.record IS NOT NULL AND t." + link_.key_column + " = c.record::" + link_.key_type +
           " AND (" +
           of_columns(columns, " OR ",
                      [&](const EnabledColumn& column) { return is_to_be_disabled(column); }) +
           ")";
}

// A wrong attribute, or a wrong mapping of it, can show everybody as disabled, just as a wrong base
// shows everybody as gone. What counts is who would be disabled in the CRM and is not yet.
void DirectoryMerge::hold_disabled() {
    if (enabled_columns_.empty()) {
        return;
    }
    const auto find = [&](const EnabledColumns& columns) {
        pg::query("INSERT INTO pg_temp.crmsync_match (entry) SELECT c.entry FROM " +
                      std::string(changed_entries) + " JOIN " + link_.source + " t ON true WHERE " +
                      is_to_be_disabled(columns),
                  {}, {.owner = link_.owner, .once = true});
    };
    // A value that a column cannot hold disables nobody there: the merge says of whom.
    const auto error = pg::subtransaction([&] { set_columns(Columns::together, find); });
    if (error) {
        set_columns(Columns::apart, find);
    }
    const std::int64_t count =
        pg::query("SELECT pg_catalog.count(DISTINCT entry) FROM pg_temp.crmsync_match")
            .integer(0, 0);
    if (count == 0) {
        return;
    }
    const std::int64_t of = pg::query(
                                "SELECT pg_catalog.count(*) FROM crmsync.item WHERE mailbox = $1 "
                                "AND state = 'linked'",
                                link_.mailbox)
                                .integer(0, 0);
    disables_ = judge_deletes(link_, Absence::disabled, count, of, outcome_.held);
    if (disables_ == Passage::held) {
        pg::query(
            "DELETE FROM pg_temp.crmsync_change c USING pg_temp.crmsync_match m "
            "WHERE c.entry = m.entry",
            {}, {.once = true});
    }
    pg::query("TRUNCATE pg_temp.crmsync_match", {}, {.once = true});
}

// How many users the merge of this slice is going to disable.
std::int64_t DirectoryMerge::count_disabled(const std::string& within) const {
    if (disables_ == Passage::held) {
        return 0;
    }
    return pg::query("SELECT pg_catalog.count(*) FROM " + std::string(changed_entries) + " JOIN " +
                         link_.source + " t ON true WHERE e.problem IS NULL AND " +
                         is_to_be_disabled(enabled_columns_) + within,
                     {}, {.owner = link_.owner, .once = true})
        .integer(0, 0);
}

// Who may not log on any more must not stay active because something else of his entry is refused,
// nor in one column because another one is.
void DirectoryMerge::disable_alone(Slice slice, const std::string& which, const Tell& tell) {
    const auto run = [&](Slice part, Columns how) {
        disable_alone(which + lies_within("c", part), how);
    };
    const SlicedWork apart{[&](Slice row) { run(row, Columns::apart); },
                           [](Slice, const pg::Error&) {}};
    run_halved(slice, {[&](Slice part) { run(part, Columns::together); },
                       [&](Slice row, const pg::Error& error) {
                           tell(row, error);
                           run_halved(row, apart);
                       }});
}

void DirectoryMerge::disable_alone(const std::string& which, Columns how) {
    pg::Transaction transaction("disabling users of link " + link_.name,
                                pg::Transaction::read_committed);
    hold_mailbox();
    check_still_runs(link_);
    std::int64_t count = 0;
    const EnabledColumns columns = set_columns(how, [&](const EnabledColumns& set) {
        const std::string assignments = of_columns(set, ", ", [&](const EnabledColumn& column) {
            const std::string& name = link_.mappings[column.position].column;
            return name + " = CASE WHEN " + is_to_be_disabled(column) + " THEN " +
                   disabling_value(column) + " ELSE t." + name + " END";
        });
        const pg::Rows rows =
            pg::query("UPDATE " + link_.source + " t SET " + assignments + " FROM " +
                          changed_entries + " WHERE " + is_to_be_disabled(set) + which,
                      {}, {.owner = link_.owner, .once = true});
        count = std::max(count, static_cast<std::int64_t>(rows.size()));
    });
    note_disabled_alone(columns, which);
    count_deletes(link_, disables_, count);
    transaction.commit_lazily();
    outcome_.disabled += count;
}

// That much of their entries has been brought in: the next run neither does it again nor, when they
// may log on again, takes that for nothing new. Who was only matched until now is known from then
// on. What has been merged before the merge was given up is whole.
void DirectoryMerge::note_disabled_alone(const EnabledColumns& columns,
                                         const std::string& which) const {
    if (columns.empty()) {
        return;
    }
    std::set<std::size_t> written;
    for (const EnabledColumn& column : columns) {
        written.insert(column.position);
    }
    const std::string not_brought_in = literal(std::string(DirectoryRowReader::hash_length, '-'));
    std::string key;
    for (std::size_t i = 0; i < link_.mappings.size(); ++i) {
        key += (i == 0 ? "" : " || ") +
               (written.contains(i) ? value_hash(i)
                                    : "CASE WHEN " + changed(i) + " THEN " + not_brought_in +
                                          " ELSE " + value_hash(i) + " END");
    }
    const PlannedWithout planning(PlanStep::sequential_scan);
    note_items(key,
               " AND NOT EXISTS (SELECT FROM crmsync.item m WHERE m.link = $1 "
               "AND m.mailbox = $2 AND m.record = c.record AND m.remote_id = c.key "
               "AND m.state = 'linked' AND m.change_key = e.change_key) AND (" +
                   of_columns(columns, " OR ", has_been_disabled) + ")" + which);
    planning.end();
}

void DirectoryMerge::mark_vanished() {
    Passage passage = Passage::held;
    const pg::TextArray due = find_due(passage);
    if (passage == Passage::held) {
        return;
    }
    const auto records = [&](Slice slice) {
        return pg::TextArray(due.begin() + slice.begin, due.begin() + slice.end);
    };
    const SlicedWork in_part{[&](Slice slice) { disable_in_part(records(slice)); },
                             [](Slice, const pg::Error&) {}};
    const SlicedWork work{[&](Slice slice) { let_go(records(slice), passage); },
                          [&](Slice slice, const pg::Error& error) {
                              failures_.write(records(slice)[0], error);
                              run_halved(slice, in_part);
                          }};
    const auto count = static_cast<std::int64_t>(due.size());
    for (std::int64_t begin = 0; begin < count; begin += most_records) {
        pg::check_interrupts();
        try {
            run_halved({begin, std::min(begin + most_records, count)}, work);
        } catch (const OtherImports::Busy& busy) {
            // These are the next run's, which is to find the confirmation.
            if (passage == Passage::confirmed) {
                outcome_.held.push_back(
                    {Absence::vanished, static_cast<std::int64_t>(judged_.size())});
            }
            std::for_each(due.begin() + begin, due.end(),
                          [&](const std::string& record) { failures_.write(record, busy.error); });
            return;
        }
    }
}

// Marks who is not in the directory any more, and returns for whom the grace time is over. Whoever
// has been read is there, whether or not his row could be merged. Who has only gone elsewhere is
// no matter for the guard. Where the others stand is looked at again, and held, for each who is let
// go.
pg::TextArray DirectoryMerge::find_due(Passage& passage) {
    pg::Transaction transaction("marking vanished users of link " + link_.name,
                                pg::Transaction::read_committed);
    const OtherImports others = OtherImports::read(link_);
    check_still_runs(link_);
    const PlannedWithout planning(PlanStep::nested_loop);
    const std::string was_disabled =
        of_columns(enabled_columns_, " OR ", [](const EnabledColumn& column) {
            return "pg_catalog.strpos(i.change_key, " + literal(column.left) + ") > 0";
        });
    pg::query(
        "UPDATE crmsync.item i SET state = 'linked', since = pg_catalog.now(), change_key = "
        "CASE WHEN " +
            (was_disabled.empty() ? "false" : was_disabled) +
            " THEN '' ELSE i.change_key END "
            "FROM pg_temp.crmsync_entry e WHERE i.link = $1 AND i.mailbox = $2 "
            "AND i.state = 'leaving' AND e.key = i.remote_id",
        link_.id, link_.mailbox);
    if (vanished_ > 0) {
        pg::query(
            "UPDATE crmsync.item i SET state = 'leaving', since = pg_catalog.now() "
            "FROM pg_temp.crmsync_change c WHERE c.entry IS NULL "
            "AND i.link = $1 AND i.record = c.record AND i.mailbox = $2 AND i.state = 'linked' "
            "AND i.remote_id = c.key" +
                std::string(is_not_met_again),
            link_.id, link_.mailbox);
    }
    const pg::Rows rows = pg::query(
        "SELECT i.record FROM crmsync.item i WHERE i.link = $1 AND i.mailbox = $2 "
        "AND i.state = 'leaving' "
        "AND i.since <= pg_catalog.now() - pg_catalog.make_interval(secs => $3)" +
            std::string(is_not_met_again),
        link_.id, link_.mailbox, link_.grace_seconds);
    planning.end();
    pg::TextArray due;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        due.push_back(rows.string(row, 0));
    }
    if (!due.empty()) {
        const std::int64_t known =
            pg::query(
                "SELECT pg_catalog.count(*) FROM crmsync.item WHERE mailbox = $1 "
                "AND state IN ('linked', 'leaving')",
                link_.mailbox)
                .integer(0, 0);
        const pg::TextArray leavers = others.without_known(due);
        judged_.insert(leavers.begin(), leavers.end());
        passage = judge_deletes(link_, Absence::vanished, static_cast<std::int64_t>(leavers.size()),
                                known, outcome_.held);
    }
    transaction.commit();
    return due;
}

// Who is gone for good is disabled in the same transaction, unless he has only gone elsewhere. His
// memberships have yet to go.
void DirectoryMerge::let_go(pg::TextArray records, Passage passage) {
    pg::Transaction transaction("disabling vanished users of link " + link_.name,
                                pg::Transaction::read_committed);
    const OtherImports others = OtherImports::hold(link_);
    check_still_runs(link_);
    const pg::TextArray leavers = judged_leavers(others, records);
    const std::int64_t disabled = disable_leavers(enabled_columns_, leavers);
    const auto gone = static_cast<std::int64_t>(
        pg::query("UPDATE crmsync.item SET state = 'gone', confirmed = $4 AND record = ANY ($5), "
                  "change_key = CASE WHEN record <> ALL ($5) THEN change_key END, "
                  "since = pg_catalog.now() "
                  "WHERE link = $1 AND mailbox = $2 AND record = ANY ($3) AND state = 'leaving'",
                  link_.id, link_.mailbox, &records,
                  link_.disables_vanished && link_.keeps_memberships(), &leavers)
            .size());
    others.reconsider(leavers);
    count_deletes(link_, passage, static_cast<std::int64_t>(leavers.size()));
    transaction.commit();
    outcome_.vanished += gone;
    outcome_.disabled += disabled;
}

// Whom the CRM does not let disable in all columns. When he comes back, all is new; until then the
// next run tries the others, and the guard counts him once they are done.
void DirectoryMerge::disable_in_part(pg::TextArray records) {
    if (!link_.disables_vanished) {
        return;
    }
    pg::Transaction transaction("disabling vanished users of link " + link_.name,
                                pg::Transaction::read_committed);
    const OtherImports others = OtherImports::hold(link_);
    check_still_runs(link_);
    const pg::TextArray leavers = judged_leavers(others, records);
    std::int64_t disabled = 0;
    const EnabledColumns columns = set_columns(Columns::apart, [&](const EnabledColumns& set) {
        disabled = std::max(disabled, disable_leavers(set, leavers));
    });
    if (columns.empty()) {
        return;
    }
    const std::string marks =
        of_columns(columns, {}, [](const EnabledColumn& column) { return column.left; });
    pg::query(
        "UPDATE crmsync.item SET change_key = $4 WHERE link = $1 AND mailbox = $2 "
        "AND record = ANY ($3) AND state = 'leaving'",
        link_.id, link_.mailbox, &leavers, std::string_view(marks));
    transaction.commit();
    outcome_.disabled += disabled;
}

// Who of these has not only gone elsewhere. Who has left that as well since the guard was asked is
// the next run's, and none of the records any more.
pg::TextArray DirectoryMerge::judged_leavers(const OtherImports& others,
                                             pg::TextArray& records) const {
    pg::TextArray leavers = others.without_known(records);
    const auto is_judged = [&](const std::string& record) { return judged_.contains(record); };
    const auto unjudged = std::partition(leavers.begin(), leavers.end(), is_judged);
    const std::set<std::string> waiting(unjudged, leavers.end());
    leavers.erase(unjudged, leavers.end());
    std::erase_if(records, [&](const std::string& record) { return waiting.contains(record); });
    return leavers;
}

// Once in each column. Returns how many were disabled.
std::int64_t DirectoryMerge::disable_leavers(const EnabledColumns& columns,
                                             const pg::TextArray& leavers) const {
    if (!link_.disables_vanished || columns.empty()) {
        return 0;
    }
    std::vector<pg::TextArray> disabled(columns.size());
    std::vector<pg::Parameter> parameters = {&leavers};
    std::string assignments;
    std::string difference;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const pg::Rows rows = pg::query(
            "SELECT record FROM crmsync.item WHERE link = $1 AND mailbox = $2 "
            "AND record = ANY ($3) AND pg_catalog.strpos(change_key, $4) > 0",
            link_.id, link_.mailbox, &leavers, std::string_view(columns[i].left));
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            disabled[i].push_back(rows.string(row, 0));
        }
        parameters.emplace_back(&disabled[i]);
        const std::string& name = link_.mappings[columns[i].position].column;
        const std::string value = disabling_value(columns[i]);
        const std::string is_due = "t." + link_.key_column + " <> ALL ($" +
                                   std::to_string(parameters.size()) + "::" + link_.key_type +
                                   "[]) AND " + differs(columns[i].position, value);
        assignments += (i == 0 ? "" : ", ") + name + " = CASE WHEN " + is_due + " THEN " + value +
                       " ELSE t." + name + " END";
        difference += (i == 0 ? "" : " OR ") + is_due;
    }
    return static_cast<std::int64_t>(pg::query("UPDATE " + link_.source + " t SET " + assignments +
                                                   " WHERE t." + link_.key_column + " = ANY ($1::" +
                                                   link_.key_type + "[]) AND (" + difference + ")",
                                               parameters, {.owner = link_.owner, .once = true})
                                         .size());
}

}  // namespace crmsync
