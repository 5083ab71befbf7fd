#include "server/worker/survey.h"

#include <algorithm>

#include "server/import/directory_link.h"
#include "server/postgres/transaction.h"
#include "server/state/links_at_hand.h"
#include "server/state/may_be_asked.h"

namespace crmsync {

namespace {

// Records whose own pause is over, and those that waited for a mailbox that is well again.
void put_back_due_failures() {
    pg::query(
        "WITH due AS MATERIALIZED (SELECT DISTINCT f.link, f.record FROM crmsync.failure f "
        "LEFT JOIN crmsync.mailbox m ON m.id = f.mailbox "
        "JOIN crmsync.link l ON l.id = f.link AND l.enabled WHERE "
        "CASE WHEN f.code = 'POSTPONED' THEN " +
        may_be_asked + "ELSE f.next_attempt <= pg_catalog.now() END), " + links_at_hand("due") +
        "INSERT INTO crmsync.pending (link, tier, record) "
        "SELECT d.link, 1, d.record FROM due d JOIN at_hand h ON h.id = d.link "
        "ON CONFLICT (link, tier, record) DO NOTHING");
}

// The option compare_interval: a full comparison now and then, for links that ask for it.
void request_periodic_comparisons() {
    pg::query(
        "WITH due AS MATERIALIZED (SELECT s.link FROM crmsync.link_state s "
        "JOIN crmsync.link l ON l.id = s.link WHERE l.enabled AND s.comparison IS NULL "
        "AND coalesce((l.options->>'compare_interval')::interval, '1 day') > '0' "
        "AND s.compared + coalesce((l.options->>'compare_interval')::interval, '1 day') "
        "<= pg_catalog.now()), " +
        links_at_hand("due") +
        "SELECT crmsync.request_comparison(h.id, 'everything') FROM at_hand h");
}

// At the end of a query of links l: not those that somebody is removing.
const std::string if_at_hand = " FOR KEY SHARE OF l SKIP LOCKED";

// Links with mailboxes to be repaired, or whose items are taken back, enabled or not.
const std::string repairing_links =
    "SELECT l.id FROM crmsync.link l JOIN crmsync.target t ON t.name = l.target "
    "LEFT JOIN crmsync.link_state s ON s.link = l.id WHERE NOT t.paused "
    "AND (s.next_attempt IS NULL OR s.next_attempt <= pg_catalog.now()) "
    "AND (l.retired OR EXISTS (SELECT FROM crmsync.repair p JOIN crmsync.mailbox m "
    "ON m.id = p.mailbox WHERE m.link = l.id))" +
    if_at_hand;

// LDAP links whose run was killed, or crashed: they have begun, and neither ended nor are under
// way.
std::string unfinished_run() {
    return "(s.last_started > greatest(s.last_success, s.last_error_at, '-infinity') "
           "AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks k WHERE k.locktype = 'userlock' "
           "AND k.classid::bigint = " +
           std::to_string(import_lock) +
           " AND k.objid::bigint = l.id AND k.objsubid = 2 AND k.database = (SELECT oid FROM "
           "pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))) ";
}

// Of links that were disabled or dropped while somebody had a table open.
void remove_left_triggers() {
    pg::Transaction transaction("removing triggers", pg::Transaction::read_committed);
    if (!pg::query("SELECT FROM crmsync.left_captures() LIMIT 1").empty()) {
        pg::query("SELECT crmsync.remove_left_triggers()");
    }
    transaction.commit_lazily();
}

std::vector<int> link_ids(const std::string& sql) {
    const pg::Rows rows = pg::query(sql);
    std::vector<int> ids;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        ids.push_back(static_cast<int>(rows.integer(row, 0)));
    }
    return ids;
}

const std::string of_enabled_links =
    "FROM crmsync.link l JOIN crmsync.target t ON t.name = l.target "
    "LEFT JOIN crmsync.link_state s ON s.link = l.id "
    "WHERE l.enabled AND NOT t.paused "
    "AND (s.next_attempt IS NULL OR s.next_attempt <= pg_catalog.now()) ";

const std::string enabled_links_of = "SELECT l.id " + of_enabled_links;

// What fails has its own columns of link_state, which begin so.
constexpr const char* of_link = "";
constexpr const char* of_comparison = "comparison_";

bool note_error(int link, const pg::Error& error, bool compare, const std::string& of) {
    pg::Transaction transaction("recording an error", pg::Transaction::read_committed);
    if (!links_being_removed({link}).empty()) {
        return false;  // nor is anything done for it before that is over
    }
    const bool is_known = pg::query(
                              "SELECT EXISTS (SELECT FROM crmsync.link_state WHERE link = $1 "
                              "AND " +
                                  of + "attempts > 0 AND last_error = $2)",
                              link, std::string_view(error.message))
                              .boolean(0, 0);
    // A name that no longer resolves, a right that is missing: nothing will change by itself, and
    // what was missed until somebody acts must be found then.
    const std::string code = error.code();
    const bool broken = code.starts_with("42");
    if (broken && compare) {
        pg::query(
            "SELECT crmsync.request_comparison(id, 'everything') FROM crmsync.link WHERE id = $1",
            link);
    }
    pg::query(
        "INSERT INTO crmsync.link_state AS s "
        "(link, comparison, broken, code, last_error, last_error_at, " +
            of + "attempts, " + of +
            "next_attempt) "
            "SELECT id, 'everything', nullif($2, ''), $3, $4, pg_catalog.now(), 1, "
            "pg_catalog.now() + interval '1 second' FROM crmsync.link WHERE id = $1 "
            "ON CONFLICT (link) DO UPDATE SET broken = excluded.broken, code = excluded.code, "
            "last_error = excluded.last_error, last_error_at = pg_catalog.now(), " +
            of + "attempts = s." + of + "attempts + 1, " + of +
            "next_attempt = pg_catalog.now() + LEAST(300, 2 ^ LEAST(s." + of +
            "attempts, 9)) * interval '1 second'",
        link, std::string_view(broken ? error.message : std::string()), std::string_view(code),
        std::string_view(error.message));
    transaction.commit();
    return !is_known;
}

void note_works(int link, const std::string& of) {
    pg::query("UPDATE crmsync.link_state SET broken = NULL, " + of + "attempts = 0, " + of +
                  "next_attempt = NULL WHERE link = $1 AND (broken IS NOT NULL OR " + of +
                  "attempts > 0)",
              link);
}

}  // namespace

Survey take_survey(bool retries) {
    if (retries) {
        remove_left_triggers();
    }
    pg::Transaction transaction("looking for work", pg::Transaction::read_committed);
    Survey survey;
    if (!pg::query("SELECT FROM crmsync.mailbox WHERE started IS NOT NULL LIMIT 1").empty()) {
        pg::query("SELECT crmsync.finish_starts()");
    }
    survey.fingerprint = configuration_fingerprint();
    if (!pg::query("SELECT FROM crmsync.mailbox WHERE look_again <= pg_catalog.now() LIMIT 1")
             .empty()) {
        pg::query("SELECT crmsync.look_again()");
    }
    if (retries) {
        put_back_due_failures();
        request_periodic_comparisons();
    }
    survey.busy_links =
        link_ids(enabled_links_of +
                 "AND t.kind <> 'ldap' AND (s.link IS NULL OR s.comparison IS NOT NULL "
                 // In the order of an index: what is not there would otherwise be looked for in
                 // whole tables.
                 "OR (SELECT true FROM crmsync.pending p WHERE p.link = l.id "
                 "ORDER BY p.tier, p.record LIMIT 1) "
                 "OR (SELECT true FROM crmsync.item i WHERE i.link = l.id AND i.state = 'leaving' "
                 "ORDER BY i.mailbox LIMIT 1) "
                 "OR (SELECT true FROM crmsync.item i WHERE i.link = l.id AND i.state = 'removed' "
                 "ORDER BY i.mailbox LIMIT 1) "
                 "OR EXISTS (SELECT FROM crmsync.undoing u WHERE u.link = l.id) "
                 // What it says is to end with what it speaks of.
                 "OR s.held IS NOT NULL "
                 "OR EXISTS (SELECT FROM crmsync.sighting s JOIN crmsync.mailbox m "
                 "ON m.id = s.mailbox WHERE m.link = l.id AND s.kind IN ('surplus', 'stray'))" +
                 // Changes of a link without its triggers would otherwise be missed without a word.
                 (retries ? " OR crmsync.capture_problem(l.id) IS NOT NULL)" : ")") + if_at_hand);
    for (const int link : link_ids(repairing_links)) {
        if (std::find(survey.busy_links.begin(), survey.busy_links.end(), link) ==
            survey.busy_links.end()) {
            survey.busy_links.push_back(link);
        }
    }
    const pg::Rows comparisons =
        pg::query("SELECT l.id, coalesce(s.comparison_asked, -1) " + of_enabled_links +
                  "AND t.kind <> 'ldap' AND (s.link IS NULL OR s.comparison IS NOT NULL) "
                  "AND (s.comparison_next_attempt IS NULL "
                  "OR s.comparison_next_attempt <= pg_catalog.now())" +
                  if_at_hand);
    for (std::uint64_t row = 0; row < comparisons.size(); ++row) {
        survey.due_comparisons.emplace(static_cast<int>(comparisons.integer(row, 0)),
                                       comparisons.integer(row, 1));
    }
    // Whatever its target does: there may be no other way to leave one that is dead. A comparison
    // is due when the relation of mailboxes has changed.
    survey.moving_links = link_ids(
        "SELECT l.id FROM crmsync.link l LEFT JOIN crmsync.link_state s ON s.link = l.id "
        "WHERE l.enabled AND (s.next_attempt IS NULL OR s.next_attempt <= pg_catalog.now()) "
        "AND (EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = l.id AND m.code = 'MOVING') "
        "OR (s.link IS NULL OR s.comparison IS NOT NULL) "
        "AND (EXISTS (SELECT FROM crmsync.link_target o WHERE o.link = l.id) "
        "OR crmsync.column_type(to_regclass(l.mailboxes), 'target') IS NOT NULL))" +
        if_at_hand);
    survey.due_runs =
        link_ids(enabled_links_of +
                 "AND t.kind = 'ldap' AND NOT EXISTS (SELECT FROM crmsync.target_state ts "
                 "WHERE ts.target = l.target AND ts.code IS NOT NULL "
                 "AND (ts.next_attempt IS NULL OR ts.next_attempt > pg_catalog.now())) "
                 "AND (s.link IS NULL OR s.comparison IS NOT NULL "
                 "OR s.last_started IS NULL OR s.attempts > 0 OR " +
                 unfinished_run() +
                 "OR s.last_started + l.inbound_interval <= pg_catalog.now() "
                 // Today where the time's own zone has it, which may be another day than here.
                 "OR EXISTS (SELECT FROM pg_catalog.generate_series(-1, 1) AS day, "
                 "LATERAL (SELECT current_date + day + l.daily_at) AS due(at) "
                 "WHERE s.last_started < due.at AND due.at <= pg_catalog.now()))");
    const pg::Rows targets = pg::query(
        "SELECT t.name, coalesce(s.attempts, 0), s.code IS NOT NULL, "
        "s.code IS NOT NULL AND s.next_attempt IS NULL, s.accepted IS NOT NULL, "
        "coalesce(s.code IN ('HTTP-401', 'HTTP-440', 'CREDENTIALS'), false), "
        "coalesce(greatest(extract(epoch FROM s.next_attempt - pg_catalog.now()) * 1000, 0), "
        "0)::bigint FROM crmsync.target t LEFT JOIN crmsync.target_state s ON s.target = t.name");
    for (std::uint64_t row = 0; row < targets.size(); ++row) {
        survey.targets.push_back(
            {targets.string(row, 0), static_cast<int>(targets.integer(row, 1)),
             targets.boolean(row, 2), targets.boolean(row, 3), targets.boolean(row, 4),
             targets.boolean(row, 5),
             std::chrono::milliseconds(targets.boolean(row, 5) ? targets.integer(row, 6) : 0)});
    }
    transaction.commit_lazily();
    return survey;
}

std::int64_t last_run(int link) {
    pg::Transaction transaction("looking for imports", pg::Transaction::read_committed);
    const pg::Rows rows = pg::query(
        "SELECT (extract(epoch FROM last_started - timestamptz '2000-01-01 00:00:00+00') "
        "* 1000000)::bigint FROM crmsync.link_state "
        "WHERE link = $1 AND last_started IS NOT NULL",
        link);
    const std::int64_t begun = rows.empty() ? 0 : rows.integer(0, 0);
    transaction.commit_lazily();
    return begun;
}

std::map<int, std::string> carry_out_requests() {
    std::map<int, std::string> readdressed;
    pg::Transaction transaction("doing what was asked for", pg::Transaction::read_committed);
    if (!pg::query("SELECT FROM crmsync.request LIMIT 1").empty()) {
        pg::IntegerArray named;
        const pg::Rows carried_out = pg::query("SELECT unnest(crmsync.carry_out_requests())");
        for (std::uint64_t row = 0; row < carried_out.size(); ++row) {
            named.push_back(static_cast<int>(carried_out.integer(row, 0)));
        }
        // Only now: what others have committed meanwhile is to be seen.
        if (!named.empty()) {
            const pg::Rows mailboxes = pg::query(
                "SELECT m.id, m.address FROM crmsync.mailbox m WHERE m.id = ANY ($1)", &named);
            for (std::uint64_t row = 0; row < mailboxes.size(); ++row) {
                readdressed.emplace(static_cast<int>(mailboxes.integer(row, 0)),
                                    mailboxes.string(row, 1));
            }
        }
        transaction.commit();
    }
    return readdressed;
}

bool compare_redefined() {
    pg::Transaction transaction("looking for other definitions", pg::Transaction::read_committed);
    const bool is_due = pg::query("SELECT crmsync.compare_redefined()").boolean(0, 0);
    transaction.commit();
    return is_due;
}

bool note_link_error(int link, const pg::Error& error, bool compare) {
    return note_error(link, error, compare, of_link);
}

bool note_comparison_error(int link, const pg::Error& error) {
    return note_error(link, error, true, of_comparison);
}

bool note_link_waits(int link, const std::string& code, const std::string& reason) {
    pg::Transaction transaction("recording what is waited for", pg::Transaction::read_committed);
    const bool is_news = pg::query(
                             "UPDATE crmsync.link_state SET code = $3, last_error = $2, "
                             "last_error_at = pg_catalog.now() "
                             "WHERE link = $1 AND last_error IS DISTINCT FROM $2 RETURNING 1",
                             link, std::string_view(reason), std::string_view(code))
                             .size() > 0;
    transaction.commit();
    return is_news;
}

void note_link_works(int link) {
    note_works(link, of_link);
}

void note_comparison_works(int link) {
    note_works(link, of_comparison);
}

}  // namespace crmsync
