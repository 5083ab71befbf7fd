#include "server/import/directory_membership.h"

#include <algorithm>

#include "directory/attribute.h"
#include "directory/error.h"
#include "record/text.h"
#include "server/import/directory_slices.h"
#include "server/import/directory_staging.h"
#include "server/import/planned_without.h"
#include "server/postgres/error_text.h"
#include "server/postgres/query.h"
#include "server/postgres/table.h"
#include "server/postgres/transaction.h"

namespace crmsync {

namespace {

// Item i is of a user whose memberships go with him. What he gets afterwards is the CRM's.
constexpr const char* is_going = "i.state = 'gone' AND i.confirmed";

// What the guard has a say in: those of users who are gone have passed it with them.
std::string of_users() {
    return std::string(
               " FROM pg_temp.crmsync_superfluous s WHERE NOT EXISTS (SELECT FROM crmsync.item i "
               "WHERE i.link = $1 AND i.mailbox = $2 AND i.record = s.record AND ") +
           is_going + ")";
}

// The group is not there, or not for us to read here, or the server gives up at it. One that is
// busy or broken is as bad for the next group, and soon well again.
bool is_about_one_group(const directory::Error& error) {
    return !directory::concerns_server(error.kind()) &&
           error.kind() != directory::ErrorKind::stopped && error.code() != LDAP_BUSY &&
           error.code() != LDAP_UNAVAILABLE;
}

std::string rows_of(const std::map<std::string, std::string>& groups) {
    std::string rows;
    for (const auto& [name, value] : groups) {
        rows += (rows.empty() ? "(" : ", (") + literal(name) + ", " + value + ")";
    }
    return "(VALUES " + rows + ")";
}

const char* form_name(directory::MemberForm form) {
    return form == directory::MemberForm::dn ? "dn" : "login";
}

}  // namespace

void DirectoryMembership::read(directory::Connection& connection, const directory::ServerKind& kind,
                               const std::string& user_filter, int page_size) {
    const directory::MemberQuery query{link_.base, user_filter, link_.nested, page_size};
    directory::GroupReader reader(connection, kind, query);
    DirectoryMembers members(link_);
    for (const DirectoryGroup& group : link_.groups) {
        try {
            reader.read(group.ldap_group, [&](directory::MemberForm form, std::string_view member) {
                members.add(group.crm_group, form_name(form), directory::value_text({}, member));
            });
            read_groups_.emplace(group.crm_group, group.value);
        } catch (const directory::Error& error) {
            if (!is_about_one_group(error)) {
                throw;
            }
            unread_groups_.emplace(group.crm_group, group.value);
            problem_ = record::cleaned(error.what());
        }
    }
    members.finish();
}

// Several groups of the directory may lead to one of the CRM, however that is spelled: it is known
// whole only when all of them are.
std::string DirectoryMembership::groups() const {
    return "(SELECT r.name, r.value FROM " + rows_of(read_groups_) + " AS r(name, value)" +
           (unread_groups_.empty() ? ""
                                   : " WHERE NOT EXISTS (SELECT FROM " + rows_of(unread_groups_) +
                                         " AS u(name, value) WHERE u.value = r.value)") +
           ") AS g";
}

std::string DirectoryMembership::fixed_columns() const {
    std::string text;
    for (const DirectoryMemberships::Fixed& fixed : link_.memberships->fixed) {
        text += ", " + fixed.column;
    }
    return text;
}

std::string DirectoryMembership::fixed_values() const {
    std::string text;
    for (const DirectoryMemberships::Fixed& fixed : link_.memberships->fixed) {
        text += ", " + (fixed.value ? literal(*fixed.value) : "NULL") + "::" + fixed.type;
    }
    return text;
}

std::string DirectoryMembership::fixed_condition() const {
    std::string text;
    for (const DirectoryMemberships::Fixed& fixed : link_.memberships->fixed) {
        text += " AND t." + fixed.column +
                (fixed.value ? " = " + literal(*fixed.value) + "::" + fixed.type : " IS NULL");
    }
    return text;
}

void DirectoryMembership::merge() {
    if (!read_groups_.empty()) {
        merge_read();
    }
    if (link_.keeps_memberships() && !gave_up_) {
        settle_gone();
    }
}

void DirectoryMembership::merge_read() {
    {
        pg::Transaction transaction(activity(), pg::Transaction::read_committed);
        check_still_runs(link_);
        // One that failed, or that the guard holds back, may belong to any user of the CRM.
        all_are_known_ =
            failures_.count() == 0 &&
            std::none_of(outcome_.held.begin(), outcome_.held.end(),
                         [](const Held& held) { return held.kind == Absence::disabled; });
        find_nameless();
        find_wanted();
        find_missing();
        transaction.commit_lazily();
    }
    run_over("pg_temp.crmsync_missing", &DirectoryMembership::insert_missing);
    {
        pg::Transaction transaction(activity(), pg::Transaction::read_committed);
        check_still_runs(link_);
        find_superfluous();
        hold_superfluous();
        transaction.commit_lazily();
    }
    run_over("pg_temp.crmsync_superfluous", &DirectoryMembership::delete_superfluous);
}

std::string DirectoryMembership::activity() const {
    return "merging memberships of link " + link_.name;
}

void DirectoryMembership::run_over(const std::string& table,
                                   void (DirectoryMembership::*work)(Slice)) {
    std::int64_t blocks = 0;
    {
        pg::Transaction transaction(activity(), pg::Transaction::read_committed);
        blocks = pg::blocks_of(table);
        transaction.commit_lazily();
    }
    std::int64_t failed = 0;
    const SlicedWork sliced{[&](Slice slice) { (this->*work)(slice); },
                            [&](Slice slice, const pg::Error& error) {
                                fail(table, slice, error);
                                if (++failed > most_failures) {
                                    give_up(error);
                                }
                            }};
    try {
        for_each_slice(blocks, [&](Slice slice) { run_halved(slice, sliced); });
    } catch (const GivenUp&) {
        // What is left is the next run's.
    }
}

void DirectoryMembership::give_up(const pg::Error& error) {
    gave_up_ = true;
    problem_ = "more than " + std::to_string(most_failures) +
               " memberships could not be merged; the last: " + error_text(error);
    throw GivenUp{};
}

void DirectoryMembership::fail(const std::string& table, Slice slice, const pg::Error& error) {
    pg::Transaction transaction("recording a failure of link " + link_.name,
                                pg::Transaction::read_committed);
    const std::string row = first_row(slice);
    const pg::Rows rows = pg::query(
        "SELECT record, crm_group FROM " + table + " WHERE ctid = $1::tid", std::string_view(row));
    if (!rows.empty()) {
        failures_.write(rows.string(0, 0), error.code(),
                        "membership " + rows.string(0, 1) + ": " + error_text(error));
        unsettled_.push_back(rows.string(0, 0));
    }
    transaction.commit_lazily();
}

// An expression that finds no group would leave its members out without a word.
void DirectoryMembership::find_nameless() {
    const pg::Rows rows = pg::query(
        "SELECT g.name FROM " + groups() + " WHERE g.value IS NULL ORDER BY g.name LIMIT 1", {},
        {.owner = link_.owner, .once = true});
    if (!rows.empty()) {
        problem_ = "no group of the CRM is found by " + rows.string(0, 0);
    }
}

void DirectoryMembership::find_wanted() {
    pg::query(
        "CREATE TEMPORARY TABLE crmsync_wanted (record text COLLATE \"C\", "
        "crm_group text COLLATE \"C\")",
        {}, {.once = true});
    pg::query(
        "CREATE TEMPORARY TABLE crmsync_missing (record text COLLATE \"C\", "
        "crm_group text COLLATE \"C\")",
        {}, {.once = true});
    pg::query(
        "CREATE TEMPORARY TABLE crmsync_superfluous (record text COLLATE \"C\", "
        "crm_group text COLLATE \"C\")",
        {}, {.once = true});
    pg::query("ANALYZE pg_temp.crmsync_member", {}, {.once = true});
    pg::query("ANALYZE pg_temp.crmsync_entry (key, name, login)", {}, {.once = true});
    const PlannedWithout planning(PlanStep::nested_loop);
    pg::query(
        "INSERT INTO pg_temp.crmsync_wanted (record, crm_group) "
        "SELECT i.record, m.crm_group FROM pg_temp.crmsync_member m "
        "JOIN pg_temp.crmsync_entry e ON e.name = m.member "
        "JOIN crmsync.item i ON i.mailbox = $1 AND i.remote_id = e.key "
        "AND i.state = 'linked' WHERE m.form = 'dn' UNION "
        "SELECT i.record, m.crm_group FROM pg_temp.crmsync_member m "
        "JOIN (SELECT s.key, l.login FROM pg_temp.crmsync_entry s CROSS JOIN LATERAL "
        "pg_catalog.string_to_table(pg_catalog.lower(s.login), $2) AS l(login) WHERE EXISTS "
        "(SELECT FROM pg_temp.crmsync_member n WHERE n.form = 'login')) e "
        "ON e.login = pg_catalog.lower(m.member) "
        "JOIN crmsync.item i ON i.mailbox = $1 AND i.remote_id = e.key "
        "AND i.state = 'linked' WHERE m.form = 'login'",
        link_.mailbox, std::string_view(DirectoryRow::login_separator));
    planning.end();
    pg::query("ANALYZE pg_temp.crmsync_wanted", {}, {.once = true});
    const std::string role = pg::query(
                                 "SELECT pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles "
                                 "WHERE oid = $1::oid",
                                 static_cast<std::int64_t>(link_.owner))
                                 .string(0, 0);
    pg::query("GRANT SELECT ON pg_temp.crmsync_wanted TO " + role, {}, {.once = true});
    pg::query(
        "GRANT SELECT, INSERT ON pg_temp.crmsync_missing, pg_temp.crmsync_superfluous TO " + role,
        {}, {.once = true});
}

// Who has been deleted in the CRM, and is still in the directory, can be a member of nothing.
void DirectoryMembership::find_missing() {
    const DirectoryMemberships& to = *link_.memberships;
    pg::query(
        "INSERT INTO pg_temp.crmsync_missing (record, crm_group) "
        "SELECT DISTINCT w.record, g.value::text FROM pg_temp.crmsync_wanted w JOIN " +
            groups() + " ON g.name = w.crm_group JOIN " + link_.source + " s ON s." +
            link_.key_column + " = w.record::" + link_.key_type +
            " WHERE g.value IS NOT NULL AND NOT EXISTS (SELECT FROM " + to.table + " t WHERE t." +
            to.user_column + " = w.record::" + to.user_type + " AND t." + to.group_column +
            " = g.value" + fixed_condition() + ")",
        {}, {.owner = link_.owner, .once = true});
}

// One that somebody has given by hand, with another fixed value, stays his.
void DirectoryMembership::insert_missing(Slice slice) {
    const DirectoryMemberships& to = *link_.memberships;
    pg::Transaction transaction(activity(), pg::Transaction::read_committed);
    check_still_runs(link_);
    const pg::Rows rows =
        pg::query("INSERT INTO " + to.table + " (" + to.user_column + ", " + to.group_column +
                      fixed_columns() + ") SELECT m.record::" + to.user_type +
                      ", m.crm_group::" + to.group_type + fixed_values() +
                      " FROM pg_temp.crmsync_missing m WHERE true" + lies_within("m", slice) +
                      (to.has_rules ? "" : " ON CONFLICT DO NOTHING"),
                  {}, {.owner = link_.owner, .once = true});
    transaction.commit();
    outcome_.members_added += static_cast<std::int64_t>(rows.size());
}

// A user of the CRM that the directory does not know keeps what somebody gave him, unless the
// option exclusive says that the directory alone decides, and all its entries are in. One whose
// entry was not read, and who yet is not gone, keeps his memberships too: he waits for the grace
// time, or the guard, or for his new entry to be brought in.
void DirectoryMembership::find_superfluous() {
    const DirectoryMemberships& to = *link_.memberships;
    const pg::Rows found = pg::query(
        "INSERT INTO pg_temp.crmsync_superfluous (record, crm_group) SELECT t." + to.user_column +
            "::text, t." + to.group_column + "::text FROM " + to.table + " t WHERE t." +
            to.group_column + " IN (SELECT g.value FROM " + groups() + ")" + fixed_condition() +
            " AND NOT EXISTS (SELECT FROM pg_temp.crmsync_wanted w JOIN " + groups() +
            " ON g.name = w.crm_group WHERE g.value = t." + to.group_column + " AND w.record = t." +
            to.user_column + "::text)",
        {}, {.owner = link_.owner, .once = true});
    if (found.empty()) {
        return;
    }
    const PlannedWithout planning(PlanStep::nested_loop);
    pg::query(
        "DELETE FROM pg_temp.crmsync_superfluous s USING crmsync.item i LEFT JOIN "
        "pg_temp.crmsync_entry e ON e.key = i.remote_id WHERE i.link = $1 AND i.mailbox = $2 "
        "AND i.record = s.record AND (i.state = 'leaving' OR i.state = 'linked' AND e.key IS NULL)",
        link_.id, link_.mailbox);
    if (!(link_.exclusive && all_are_known_)) {
        pg::query(
            "DELETE FROM pg_temp.crmsync_superfluous s WHERE NOT EXISTS (SELECT FROM "
            "crmsync.item i WHERE i.link = $1 AND i.mailbox = $2 AND i.record = s.record "
            "AND (i.state = 'linked' OR " +
                std::string(is_going) + "))",
            link_.id, link_.mailbox);
    }
    planning.end();
    pg::query("ANALYZE pg_temp.crmsync_superfluous", {}, {.once = true});
}

void DirectoryMembership::hold_superfluous() {
    const std::int64_t count =
        pg::query("SELECT pg_catalog.count(*)" + of_users(), link_.id, link_.mailbox).integer(0, 0);
    const std::int64_t wanted =
        pg::query("SELECT pg_catalog.count(*) FROM pg_temp.crmsync_wanted").integer(0, 0);
    passage_ = judge_deletes(link_, Absence::memberships, count, wanted + count, outcome_.held);
    if (passage_ == Passage::held) {
        pg::query("DELETE" + of_users(), link_.id, link_.mailbox);
    }
}

void DirectoryMembership::delete_superfluous(Slice slice) {
    const DirectoryMemberships& to = *link_.memberships;
    pg::Transaction transaction(activity(), pg::Transaction::read_committed);
    check_still_runs(link_);
    const std::string within = lies_within("s", slice);
    const pg::Rows rows = pg::query(
        "DELETE FROM " + to.table + " t USING pg_temp.crmsync_superfluous s WHERE t." +
            to.user_column + " = s.record::" + to.user_type + " AND t." + to.group_column +
            " = s.crm_group::" + to.group_type + fixed_condition() + within,
        {}, {.owner = link_.owner, .once = true});
    count_deletes(
        link_, passage_,
        pg::query("SELECT pg_catalog.count(*)" + of_users() + within, link_.id, link_.mailbox)
            .integer(0, 0));
    transaction.commit();
    outcome_.members_removed += static_cast<std::int64_t>(rows.size());
}

// Who is rid of all that he was a member of. What was not read or is refused is the next run's.
void DirectoryMembership::settle_gone() {
    pg::Transaction transaction(activity(), pg::Transaction::read_committed);
    check_still_runs(link_);
    if (!unread_groups_.empty()) {
        find_members_of_unread();
    }
    pg::query(
        "UPDATE crmsync.item i SET confirmed = false WHERE i.link = $1 AND i.mailbox = $2 "
        "AND i.record <> ALL ($3) AND " +
            std::string(is_going),
        link_.id, link_.mailbox, &unsettled_);
    transaction.commit_lazily();
}

// Users who are gone, and are members yet of groups that could not be read.
void DirectoryMembership::find_members_of_unread() {
    pg::TextArray going;
    const pg::Rows items =
        pg::query("SELECT i.record FROM crmsync.item i WHERE i.link = $1 AND i.mailbox = $2 AND " +
                      std::string(is_going),
                  link_.id, link_.mailbox);
    for (std::uint64_t row = 0; row < items.size(); ++row) {
        going.push_back(items.string(row, 0));
    }
    const DirectoryMemberships& to = *link_.memberships;
    const pg::Parameter parameters[] = {&going};
    const pg::Rows members =
        pg::query("SELECT DISTINCT t." + to.user_column + "::text FROM " + to.table +
                      " t WHERE t." + to.user_column + " = ANY ($1::" + to.user_type +
                      "[]) AND t." + to.group_column + " IN (SELECT u.value FROM " +
                      rows_of(unread_groups_) + " AS u(name, value))" + fixed_condition(),
                  parameters, {.owner = link_.owner, .once = true});
    for (std::uint64_t row = 0; row < members.size(); ++row) {
        unsettled_.push_back(members.string(row, 0));
    }
}

}  // namespace crmsync
