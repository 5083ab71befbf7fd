#include "server/state/arrivals.h"

#include "server/postgres/array_rows.h"
#include "server/postgres/query.h"
#include "server/state/may_be_asked.h"
#include "server/state/retry_pauses.h"

namespace crmsync {

namespace {

// Fetched in answers of some hundred kilobytes each; what is here waits in memory.
constexpr int most_arrivals = 2000;

// Of several mailboxes: one is asked by one request at a time.
constexpr std::int32_t most_of_one_mailbox = 100;

// Below that many under way there is room for more.
constexpr std::size_t few_arrivals = 1000;

struct Names {
    pg::IntegerArray mailboxes;
    pg::TextArray ids;

    explicit Names(const std::vector<ItemName>& items = {}) {
        for (const ItemName& item : items) {
            add(item);
        }
    }
    void add(const ItemName& item) {
        mailboxes.push_back(item.first);
        ids.push_back(item.second);
    }
};

// What follows when arrivals, a WITH query with mailbox, remote_id and records, hold these records
// back no longer: the records are looked at, and so are other items that may be of them.
std::string then_look_again(const std::string& arrivals) {
    return ", rivals AS (UPDATE crmsync.arrival a SET code = NULL, message = NULL, attempts = 0, "
           "next_attempt = NULL FROM " +
           arrivals +
           " s WHERE a.mailbox = s.mailbox AND a.code = 'AMBIGUOUS' AND a.records && s.records "
           "AND NOT EXISTS (SELECT FROM " +
           arrivals +
           " o WHERE o.mailbox = a.mailbox AND o.remote_id = a.remote_id)) "
           "INSERT INTO crmsync.pending AS p (link, tier, record) "
           "SELECT DISTINCT m.link, 0, r.record FROM " +
           arrivals +
           " s JOIN crmsync.mailbox m ON m.id = s.mailbox "
           "CROSS JOIN unnest(s.records) AS r(record) "
           "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1";
}

}  // namespace

bool may_fetch(const std::set<ItemName>& under_way) {
    return under_way.size() < few_arrivals;
}

std::vector<Fetch> next_fetches(const LinkConfiguration& link, const pg::IntegerArray& absent,
                                const std::set<ItemName>& under_way,
                                const std::set<ItemName>& for_repair, sync::WorkInFlight& in_flight,
                                bool& more) {
    // What is under way is read again: no more than that many are.
    const auto limit = static_cast<std::int32_t>(most_arrivals + under_way.size());
    const pg::Rows rows = pg::query(
        "SELECT a.mailbox, a.remote_id, coalesce(i.record, ''), a.version FROM crmsync.mailbox m "
        "CROSS JOIN LATERAL (SELECT b.mailbox, b.remote_id, b.version FROM crmsync.arrival b "
        // As the index arrival_due has it.
        "WHERE b.mailbox = m.id AND (b.code IS NULL OR b.next_attempt IS NOT NULL) "
        "AND coalesce(b.next_attempt, '-infinity') <= pg_catalog.now() LIMIT $3) AS a "
        "LEFT JOIN LATERAL (SELECT t.record FROM crmsync.item t "
        "WHERE t.mailbox = a.mailbox AND t.remote_id = a.remote_id AND pg_catalog.hashtext("
        "t.remote_id) = pg_catalog.hashtext(a.remote_id) OFFSET 0) AS i ON true "
        "WHERE m.link = $1 AND m.id <> ALL ($4) AND " +
            may_be_asked + "LIMIT $2",
        link.id, limit, most_of_one_mailbox, &absent);
    std::vector<Fetch> fetches;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        ItemName item(static_cast<int>(rows.integer(row, 0)), rows.string(row, 1));
        const std::string record = rows.string(row, 2);
        if (under_way.contains(item) || for_repair.contains(item) ||
            (!record.empty() && in_flight.occupies(link.id, record, item.first))) {
            continue;
        }
        Fetch fetch{.mailbox = item.first, .task = {}};
        fetch.task.action = sync::Action::fetch;
        fetch.task.record = record;
        fetch.task.item.id = std::move(item.second);
        fetch.task.rules = link.kept_rules;
        fetch.task.notice = static_cast<int>(rows.integer(row, 3));
        fetch.task.fresh = true;
        fetches.push_back(std::move(fetch));
    }
    more = rows.size() == static_cast<std::uint64_t>(limit) && !fetches.empty();
    return fetches;
}

bool note_met_mailboxes(const LinkConfiguration& link) {
    const std::string is_read =
        "m.link = $1 AND m.met IS NULL AND m.sync_state IS NOT NULL AND m.listing IS NULL "
        "AND NOT EXISTS (SELECT FROM crmsync.arrival o WHERE o.mailbox = m.id AND o.code IS NULL ";
    const pg::Rows waiting = pg::query(
        "UPDATE crmsync.arrival a SET next_attempt = NULL FROM crmsync.mailbox m "
        "WHERE a.mailbox = m.id AND a.next_attempt = 'infinity' AND " +
            is_read + "AND o.next_attempt IS DISTINCT FROM 'infinity') RETURNING 1",
        link.id);
    if (!waiting.empty()) {
        return true;
    }
    const pg::Rows met = pg::query(
        "UPDATE crmsync.mailbox m SET met = pg_catalog.now() WHERE " + is_read + ") RETURNING 1",
        link.id);
    if (!met.empty() && link.rules.outbound) {
        pg::query("SELECT crmsync.request_comparison($1, 'audience')", link.id);
    }
    return !met.empty();
}

std::set<const sync::Outcome*> noticed_since(const std::vector<sync::Outcome>& outcomes) {
    Names names;
    pg::IntegerArray notices;
    for (const sync::Outcome& outcome : outcomes) {
        names.add(name_of(outcome));
        notices.push_back(outcome.notice);
    }
    const pg::Rows rows = pg::query(
        "SELECT u.place FROM unnest($1::integer[], $2::text[], $3::integer[]) "
        "WITH ORDINALITY AS u(mailbox, id, notice, place) JOIN crmsync.arrival a "
        "ON a.mailbox = u.mailbox AND a.remote_id = u.id WHERE CASE WHEN u.notice = 0 "
        "THEN a.code IS NULL AND a.next_attempt IS NULL ELSE a.version > u.notice END",
        &names.mailboxes, &names.ids, &notices);
    std::set<const sync::Outcome*> since;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        since.insert(&outcomes[static_cast<std::size_t>(rows.integer(row, 0)) - 1]);
    }
    return since;
}

void settle_arrivals(const std::vector<ItemName>& items) {
    if (items.empty()) {
        return;
    }
    const Names names(items);
    pg::query("WITH settled AS (DELETE FROM crmsync.arrival a USING " +
                  array_rows({{"mailbox", "integer"}, {"id", "text"}}) +
                  "WHERE a.mailbox = u.mailbox AND a.remote_id = u.id "
                  "RETURNING a.mailbox, a.remote_id, a.records)" +
                  then_look_again("settled"),
              &names.mailboxes, &names.ids);
}

void postpone_arrivals(const std::vector<ItemName>& items) {
    if (items.empty()) {
        return;
    }
    const Names names(items);
    // Not all at the same time: where there is time for a few only, it should be others.
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id, next_attempt) "
        "SELECT m.id, u.id, "
        "pg_catalog.clock_timestamp() + interval '2 seconds' * (0.5 + pg_catalog.random()) "
        "FROM unnest($1::integer[], $2::text[]) AS u(mailbox, id) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox FOR KEY SHARE OF m "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET next_attempt = excluded.next_attempt",
        &names.mailboxes, &names.ids);
}

void retry_written(const std::vector<const sync::Outcome*>& written) {
    Names names;
    for (const sync::Outcome* outcome : written) {
        if (outcome->action == sync::Action::update) {
            names.add(name_of(*outcome));
        }
    }
    if (pg::query("SELECT FROM crmsync.arrival WHERE mailbox = ANY ($1) AND code IS NOT NULL "
                  "LIMIT 1",
                  &names.mailboxes)
            .empty()) {
        return;
    }
    pg::query("UPDATE crmsync.arrival a SET next_attempt = pg_catalog.now() FROM " +
                  array_rows({{"mailbox", "integer"}, {"id", "text"}}) +
                  "WHERE a.mailbox = u.mailbox AND a.remote_id = u.id AND a.code IS NOT NULL",
              &names.mailboxes, &names.ids);
}

namespace {

// Nothing follows of one that may be of the same records as before.
void release_records(const std::vector<ArrivalFailure>& failures) {
    for (const ArrivalFailure& failure : failures) {
        if (!failure.unread) {
            pg::query(
                "WITH released AS MATERIALIZED (SELECT mailbox, remote_id, records "
                "FROM crmsync.arrival WHERE mailbox = $1 AND remote_id = $2 "
                "AND records IS NOT NULL AND NOT records <@ $3::text[]), "
                "emptied AS (UPDATE crmsync.arrival a SET records = NULL, created = NULL "
                "FROM released r WHERE a.mailbox = r.mailbox AND a.remote_id = r.remote_id)" +
                    then_look_again("released"),
                failure.item.first, std::string_view(failure.item.second), &failure.records);
        }
    }
}

}  // namespace

void write_arrival_failures(const LinkConfiguration& link,
                            const std::vector<ArrivalFailure>& failures) {
    if (failures.empty()) {
        return;
    }
    Names names;
    pg::TextArray codes;
    pg::TextArray messages;
    for (const ArrivalFailure& failure : failures) {
        names.add(failure.item);
        codes.push_back(failure.code);
        messages.push_back(failure.message);
    }
    release_records(failures);
    // An item of which nothing had been noted was met while writing to it.
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id, attempts, code, message, "
        "next_attempt) SELECT m.id, u.id, 1, u.code, u.message, pg_catalog.now() + " +
            retry_pauses("u.code") +
            "[1] FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[]) "
            "AS u(mailbox, id, code, message) JOIN crmsync.mailbox m ON m.id = u.mailbox "
            "FOR KEY SHARE OF m "
            "ON CONFLICT (mailbox, remote_id) DO UPDATE SET attempts = a.attempts + 1, "
            "code = excluded.code, message = excluded.message, "
            "next_attempt = pg_catalog.now() + " +
            retry_pauses("excluded.code") + "[a.attempts + 1]",
        &names.mailboxes, &names.ids, &codes, &messages);
    for (const ArrivalFailure& failure : failures) {
        if (!failure.records.empty()) {
            pg::query(
                "WITH held AS (UPDATE crmsync.arrival SET records = $4, created = $5 "
                "WHERE mailbox = $2 AND remote_id = $3) "
                "INSERT INTO crmsync.conflict AS c (link, mailbox, kind, item, records) "
                "SELECT $1, $2, 'ambiguous', $3, $4 WHERE $6 "
                "ON CONFLICT (mailbox, item, kind) WHERE item IS NOT NULL DO UPDATE "
                "SET records = excluded.records, choice = NULL, at = CASE "
                "WHEN c.choice IS NULL THEN c.at ELSE pg_catalog.now() END",
                link.id, failure.item.first, std::string_view(failure.item.second),
                &failure.records, std::string_view(failure.created),
                failure.code == ambiguous_code);
        }
    }
}

void write_waiting(const std::vector<WaitingArrival>& waiting) {
    for (const WaitingArrival& one : waiting) {
        pg::query(
            "UPDATE crmsync.arrival SET records = $3, created = $4, code = NULL, message = NULL, "
            "next_attempt = 'infinity' WHERE mailbox = $1 AND remote_id = $2",
            one.item.first, std::string_view(one.item.second), &one.records,
            std::string_view(one.created));
    }
}

void retry_ambiguous(const pg::IntegerArray& mailboxes, const pg::TextArray& records) {
    pg::query(
        "UPDATE crmsync.arrival a SET code = NULL, message = NULL, attempts = 0, "
        "next_attempt = NULL FROM unnest($1::integer[], $2::text[]) AS u(mailbox, record) "
        "WHERE a.mailbox = u.mailbox AND a.code = 'AMBIGUOUS' AND u.record = ANY (a.records)",
        &mailboxes, &records);
}

}  // namespace crmsync
