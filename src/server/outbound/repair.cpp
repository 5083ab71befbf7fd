#include "server/outbound/repair.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/outbound/mailbox_description.h"
#include "server/outbound/stamped_copies.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"
#include "server/state/late_creates.h"
#include "server/state/may_be_asked.h"
#include "server/state/outcome_pairs.h"

namespace crmsync {

namespace {

using sync::Outcome;
using sync::Result;

// What is fetched waits in memory for the server, and then for us.
constexpr int most_fetches_at_once = 500;

// What is listed waits in our table until the mailbox's list is complete.
constexpr std::size_t most_listings_at_once = 50;

// Mailboxes that do not take part any more are left as they are.
void leave_those_gone(const LinkConfiguration& link) {
    if (link.mailboxes_query.empty()) {
        return;
    }
    const pg::TextArray participants = taking_part(link);
    pg::query(
        "WITH left_alone AS (SELECT m.id FROM crmsync.mailbox m "
        "LEFT JOIN crmsync.repair p ON p.mailbox = m.id WHERE m.link = $1 "
        "AND m.address <> ALL ($2) AND p.mode IS DISTINCT FROM 'withdraw'), "
        "given_up AS (DELETE FROM crmsync.repair p USING left_alone l WHERE p.mailbox = l.id) "
        "DELETE FROM crmsync.sighting s USING left_alone l WHERE s.mailbox = l.id",
        link.id, &participants);
}

pg::IntegerArray mailboxes_at(int link, std::string_view step) {
    const pg::Rows rows = pg::query(
        "SELECT p.mailbox FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
        "WHERE m.link = $1 AND p.step = $2 AND " +
            may_be_asked + "ORDER BY p.mailbox",
        link, step);
    pg::IntegerArray mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        mailboxes.push_back(static_cast<int>(rows.integer(row, 0)));
    }
    return mailboxes;
}

void begin_listings(RepairWork& work) {
    const pg::IntegerArray mailboxes(work.listings.begin(), work.listings.end());
    pg::query(
        "UPDATE crmsync.repair SET began = pg_catalog.clock_timestamp() WHERE mailbox = ANY ($1)",
        &mailboxes);
}

void add_fetches(const LinkConfiguration& link, const std::set<ItemName>& being_fetched,
                 const std::set<ItemName>& arriving, sync::WorkInFlight& in_flight,
                 const Work& about_to_be, RepairWork& work) {
    const std::set<RecordInMailbox> begun = about_to_be.begun_in();
    const auto limit = static_cast<std::int32_t>(most_fetches_at_once + being_fetched.size());
    const pg::Rows rows = pg::query(
        "SELECT s.mailbox, s.remote_id, s.record FROM crmsync.repair p "
        "JOIN crmsync.mailbox m ON m.id = p.mailbox JOIN crmsync.sighting s ON s.mailbox = m.id "
        "WHERE m.link = $1 AND p.step = 'fetch' AND s.kind IN ('changed', 'missing', 'copy', "
        "'late') AND " +
            may_be_asked + "LIMIT $2",
        link.id, limit);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        ItemName item(static_cast<int>(rows.integer(row, 0)), rows.string(row, 1));
        Fetch fetch{.mailbox = item.first, .task = {}};
        fetch.task.record = rows.string(row, 2);
        if (being_fetched.contains(item) || arriving.contains(item) ||
            in_flight.occupies(link.id, fetch.task.record, fetch.mailbox) ||
            begun.contains({fetch.task.record, fetch.mailbox})) {
            continue;
        }
        fetch.task.action = sync::Action::fetch;
        fetch.task.item.id = std::move(item.second);
        fetch.task.rules = link.kept_rules;
        work.fetches.push_back(std::move(fetch));
    }
}

const std::string of_sightings =
    "unnest($2::integer[], $3::text[], $4::text[]) AS u(mailbox, id, record) ";

// So that their records are looked at.
const std::string then_look_at =
    ", looked_at AS (INSERT INTO crmsync.pending AS p (link, tier, record) "
    "SELECT DISTINCT $1::integer, 1, t.record FROM touched t "
    "WHERE (SELECT l.enabled FROM crmsync.link l WHERE l.id = $1) "
    "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1) "
    "DELETE FROM crmsync.sighting s USING " +
    of_sightings +
    "WHERE s.mailbox = u.mailbox AND s.remote_id = u.id AND s.kind IN ('changed', 'missing')";

// What a user has changed is known now, and so is what of it the CRM wants otherwise.
void learn(const LinkConfiguration& link, const std::vector<const Outcome*>& held) {
    if (held.empty()) {
        return;
    }
    const record::Layout compared = compared_of(link.rules.layout);
    const Pairs names(held);
    pg::TextArray change_keys;
    pg::JsonbArray shadows;
    pg::JsonbArray unknown;
    std::vector<record::Values> values;
    values.reserve(held.size());  // the documents refer to them
    for (const Outcome* outcome : held) {
        change_keys.push_back(outcome->held.item.change_key);
        values.push_back(values_of(compared, link.rules.layout, outcome->held.values));
        auto document = document_of(compared, values.back(), Absent::as_null);
        pg::JsonbArray::Document there;
        for (const std::size_t place : outcome->held.unread) {
            leave_out(*link.rules.layout[place], document);
            if (link.rules.fields[place].write == record::Write::if_empty) {
                there.emplace_back(link.rules.layout[place]->name, record::cannot_be_read);
            }
        }
        shadows.documents.push_back(std::move(document));
        unknown.documents.push_back(std::move(there));
    }
    pg::query(
        "WITH touched AS (UPDATE crmsync.item i SET change_key = u.change_key, "
        "shadow = pg_catalog.jsonb_strip_nulls("
        "u.there || coalesce(i.shadow, '{}') || u.shadow) "
        "FROM unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::jsonb[]) "
        "AS u(mailbox, id, record, change_key, shadow, there) "
        "WHERE i.link = $1 AND i.record = u.record "
        "AND i.mailbox = u.mailbox AND i.remote_id = u.id RETURNING i.record)" +
            then_look_at,
        link.id, &names.mailboxes, &names.ids, &names.records, &change_keys, &shadows, &unknown);
}

// What could not be read is read again before it is written, or fails like everything that cannot
// be written.
void distrust(const LinkConfiguration& link, const Pairs& unread) {
    if (!unread.empty()) {
        pg::query("WITH touched AS (UPDATE crmsync.item i SET shadow = NULL FROM " + of_sightings +
                      "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox "
                      "AND i.remote_id = u.id RETURNING i.record)" +
                      then_look_at,
                  link.id, &unread.mailboxes, &unread.ids, &unread.records);
    }
}

// What is gone is made again when the repair ends (see finish_repairs), unless it is never to be.
void note_gone(const LinkConfiguration& link, const Pairs& gone) {
    if (gone.empty()) {
        return;
    }
    const bool never_again = link.rules.policy.on_target_delete == sync::OnTargetDelete::unlink;
    pg::query("WITH touched AS (UPDATE crmsync.item i SET since = pg_catalog.now(), state = " +
                  std::string(never_again ? "'gone'" : "'absent'") + " FROM " + of_sightings +
                  "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox "
                  "AND i.remote_id = u.id RETURNING i.record)" +
                  then_look_at,
              link.id, &gone.mailboxes, &gone.ids, &gone.records);
}

}  // namespace

bool anything_under_repair() {
    return pg::query(
               "SELECT EXISTS (SELECT FROM crmsync.repair) "
               "OR EXISTS (SELECT FROM crmsync.sighting)")
        .boolean(0, 0);
}

RepairWork next_repairs(const Configuration& configuration, const LinkConfiguration& link,
                        const std::set<int>& being_listed, const std::set<ItemName>& being_fetched,
                        const std::set<ItemName>& arriving, sync::WorkInFlight& in_flight,
                        const Work& about_to_be) {
    RepairWork work;
    leave_those_gone(link);
    const pg::IntegerArray listed = mailboxes_at(link.id, "compare");
    if (!listed.empty()) {
        // One at a time: there may be very many items in each.
        pg::query("SELECT crmsync.compare_listing($1, $2)", listed.front(), longest_delay());
        work.more = true;
    }
    pg::IntegerArray concerned;
    for (const int mailbox : mailboxes_at(link.id, "list")) {
        if (!being_listed.contains(mailbox) &&
            being_listed.size() + work.listings.size() < most_listings_at_once) {
            work.listings.push_back(mailbox);
            concerned.push_back(mailbox);
        }
    }
    begin_listings(work);
    add_fetches(link, being_fetched, arriving, in_flight, about_to_be, work);
    for (const Fetch& fetch : work.fetches) {
        concerned.push_back(fetch.mailbox);
    }
    pg::query("SELECT crmsync.finish_repairs($1)", link.id);
    if (!concerned.empty()) {
        work.mailboxes = describe_mailboxes(configuration, link, concerned);
    }
    return work;
}

void write_stamp_pages(const std::vector<sync::StampPage>& pages) {
    for (const sync::StampPage& page : pages) {
        if (!page.listed) {
            continue;
        }
        if (page.from_start) {
            pg::query(
                "DELETE FROM crmsync.sighting WHERE mailbox = $1 "
                "AND kind NOT IN ('surplus', 'stray')",
                page.mailbox);
        }
        pg::TextArray ids;
        pg::TextArray change_keys;
        pg::TextArray records;
        pg::BigintArray attempts;
        for (const sync::StampPage::Sighting& sighting : page.sightings) {
            ids.push_back(sighting.item.id);
            change_keys.push_back(sighting.item.change_key);
            records.push_back(sighting.record);
            attempts.push_back(sighting.attempt);
        }
        pg::query(
            "INSERT INTO crmsync.sighting AS s "
            "(mailbox, remote_id, change_key, record, attempt, kind) "
            "SELECT DISTINCT ON (u.id) p.mailbox, u.id, u.change_key, u.record, "
            "nullif(u.attempt, 0), 'listed' FROM unnest($2::text[], $3::text[], $4::text[], "
            "$5::bigint[]) AS u(id, change_key, record, attempt) "
            "JOIN crmsync.repair p ON p.mailbox = $1 AND p.step = 'list' "
            "ON CONFLICT (mailbox, remote_id) DO UPDATE SET change_key = excluded.change_key",
            page.mailbox, &ids, &change_keys, &records, &attempts);
        if (page.complete) {
            pg::query(
                "UPDATE crmsync.repair SET step = 'compare' "
                "WHERE mailbox = $1 AND step = 'list' AND began >= since",
                page.mailbox);
        }
    }
}

void mend(const LinkConfiguration& link, const std::vector<Outcome>& outcomes) {
    pg::Transaction transaction("repairing for link " + link.name, pg::Transaction::read_committed);
    const std::set<ItemName> known_copies = copies_among(outcomes);
    std::vector<const Outcome*> held;
    std::vector<const Outcome*> copies;
    Pairs gone;
    Pairs unread;
    Pairs lost_copies;
    for (const Outcome& outcome : outcomes) {
        const bool is_copy = known_copies.contains({outcome.mailbox, outcome.item.id});
        if (outcome.result == Result::fetched) {
            if (outcome.rules == link.kept_rules) {
                // What was read for another mapping says too little: it is fetched again.
                (is_copy ? copies : held).push_back(&outcome);
            }
        } else if (outcome.result == Result::removed || outcome.result == Result::failed) {
            (is_copy                             ? lost_copies
             : outcome.result == Result::removed ? gone
                                                 : unread)
                .add(outcome);
        }
    }
    learn(link, held);
    note_gone(link, gone);
    distrust(link, unread);
    judge_copies(link, copies);
    forget_copies(lost_copies);
    transaction.commit();
}

}  // namespace crmsync
