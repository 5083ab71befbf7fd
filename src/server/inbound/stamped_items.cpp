#include "server/inbound/stamped_items.h"

#include <map>
#include <set>

#include "server/outbound/item_writer.h"
#include "server/postgres/encoding.h"
#include "server/postgres/query.h"
#include "server/state/late_creates.h"
#include "sync/stamp.h"

namespace crmsync {

namespace {

using sync::Outcome;

// One item of each record in each mailbox.
struct Stamped {
    std::map<std::pair<std::string, int>, const Outcome*> items;
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::TextArray change_keys;
    pg::IntegerArray adopted;

    bool add(std::string record, const Outcome& outcome) {
        if (!items.try_emplace({record, outcome.mailbox}, &outcome).second) {
            return false;
        }
        records.push_back(std::move(record));
        mailboxes.push_back(outcome.mailbox);
        ids.push_back(outcome.item.id);
        change_keys.push_back(outcome.held.item.change_key);
        adopted.push_back(exchange::was_adopted(outcome.held) ? 1 : 0);
        return true;
    }
};

void take_places(const LinkConfiguration& link, const Stamped& stamped, StampedItems& result) {
    const pg::Rows rows = pg::query(
        "INSERT INTO crmsync.item AS i (link, record, mailbox, remote_id, change_key, origin) "
        "SELECT $5, u.record, u.mailbox, u.id, u.change_key, " +
            std::string(origin_of_new_item) +
            "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $6::integer[]) "
            "AS u(record, mailbox, id, change_key, adopted) "
            "JOIN crmsync.mailbox m ON m.id = u.mailbox WHERE " +
            is_not_undone +
            "FOR KEY SHARE OF m "
            // What it holds has yet to come in: it is not written before it is read.
            "ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
            "change_key = NULL, state = 'linked', confirmed = false, "
            "since = pg_catalog.now() "
            "WHERE i.state IN ('absent', 'gone', 'removed') RETURNING record, mailbox",
        &stamped.records, &stamped.mailboxes, &stamped.ids, &stamped.change_keys, link.id,
        &stamped.adopted);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        std::string record = rows.string(row, 0);
        const Outcome* outcome = stamped.items.at({record, static_cast<int>(rows.integer(row, 1))});
        result.moved.emplace_back(std::move(record), outcome);
    }
}

// Those whose record has another item there: it is asked for, unless it has been since they came.
void ask_for_originals(const LinkConfiguration& link, const Stamped& stamped) {
    pg::query(
        "WITH copies AS (UPDATE crmsync.arrival a SET original = i.remote_id, "
        "original_attempt = NULL "
        "FROM unnest($1::text[], $2::integer[], $3::text[]) AS u(record, mailbox, id), "
        "crmsync.item i WHERE a.mailbox = u.mailbox AND a.remote_id = u.id "
        "AND a.original IS DISTINCT FROM i.remote_id "
        "AND i.link = $4 AND i.record = u.record AND i.mailbox = u.mailbox "
        "AND i.remote_id <> u.id RETURNING i.mailbox, i.remote_id) "
        "INSERT INTO crmsync.arrival (mailbox, remote_id) SELECT DISTINCT mailbox, remote_id "
        "FROM copies ON CONFLICT (mailbox, remote_id) DO NOTHING",
        &stamped.records, &stamped.mailboxes, &stamped.ids, link.id);
}

// Copies for sure, by place: their stamps go, or those that we made ourselves. Those that may be
// what was there before the present item are left for somebody to decide about.
struct Copies {
    std::set<std::size_t> let_go;
    std::set<std::size_t> undecided;
};

// What is known of an item that bears the stamp of another one, which is there.
struct Copy {
    std::size_t place;  // among the stamped
    bool undecided;
    bool late;  // we made it
};

std::vector<Copy> find_copies(const LinkConfiguration& link, const Stamped& stamped) {
    const pg::Rows rows = pg::query(
        "SELECT u.place, i.remade AND i.remote_id IS NOT NULL AND $5 AND NOT EXISTS (SELECT FROM "
        "crmsync.conflict c "
        "WHERE c.mailbox = u.mailbox AND c.item = u.id AND c.kind = 'ambiguous' "
        "AND c.choice IS NOT NULL), coalesce(a.original_attempt, 0), i.shadow, "
        "CASE WHEN i.remade THEN pg_catalog.date_part('epoch', i.since) * 1000000 "
        "ELSE 0 END::bigint, i.remote_id IS NULL "
        "FROM unnest($1::text[], $2::integer[], $3::text[]) WITH ORDINALITY "
        "AS u(record, mailbox, id, place) "
        "JOIN crmsync.item i ON i.link = $4 AND i.record = u.record AND i.mailbox = u.mailbox "
        "AND i.remote_id IS DISTINCT FROM u.id JOIN crmsync.arrival a ON a.mailbox = u.mailbox "
        "AND a.remote_id = u.id AND (i.remote_id IS NULL OR a.original = i.remote_id) "
        "WHERE NOT EXISTS ("
        "SELECT FROM crmsync.arrival o "
        "WHERE o.mailbox = i.mailbox AND o.remote_id = i.remote_id AND o.code IS NULL)",
        &stamped.records, &stamped.mailboxes, &stamped.ids, link.id, link.inbound);
    std::vector<Copy> copies;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto place = static_cast<std::size_t>(rows.integer(row, 0)) - 1;
        const Outcome& item = *stamped.items.at({stamped.records[place], stamped.mailboxes[place]});
        const Jsonb* shadow = rows.is_null(row, 3) ? nullptr : rows.jsonb(row, 3);
        // What the record had there before it was made anew is no attempt at that.
        const bool late = !rows.boolean(row, 5) && item.held.attempt > rows.integer(row, 4) &&
                          is_late(item.held.attempt, rows.integer(row, 2)) &&
                          is_untouched(item, holds_the_same(link, shadow, item));
        copies.push_back({place, rows.boolean(row, 1), late});
    }
    return copies;
}

Copies let_copies_go(const LinkConfiguration& link, const Stamped& stamped) {
    Copies copies;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::TextArray change_keys;
    pg::TextArray records;
    pg::IntegerArray late;
    for (const Copy& copy : find_copies(link, stamped)) {
        if (copy.undecided && !copy.late) {
            copies.undecided.insert(copy.place);
            continue;
        }
        copies.let_go.insert(copy.place);
        mailboxes.push_back(stamped.mailboxes[copy.place]);
        ids.push_back(stamped.ids[copy.place]);
        change_keys.push_back(stamped.change_keys[copy.place]);
        records.push_back(stamped.records[copy.place]);
        late.push_back(copy.late ? 1 : 0);
    }
    pg::query(
        "INSERT INTO crmsync.sighting (mailbox, remote_id, change_key, record, kind, confirmed) "
        "SELECT u.mailbox, u.id, u.change_key, u.record, "
        "CASE WHEN u.late = 1 THEN 'surplus' ELSE 'stray' END, u.late = 1 "
        "FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::integer[]) "
        "AS u(mailbox, id, change_key, record, late) "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET kind = excluded.kind, "
        "change_key = excluded.change_key, confirmed = excluded.confirmed",
        &mailboxes, &ids, &change_keys, &records, &late);
    return copies;
}

}  // namespace

StampedItems take_stamped(const LinkConfiguration& link, const std::string& prefix,
                          const std::vector<const Outcome*>& unknown) {
    StampedItems result;
    Stamped stamped;
    for (const Outcome* outcome : unknown) {
        if (outcome->held.stamp.empty()) {
            continue;
        }
        auto key = sync::key_of_stamp(outcome->held.stamp, prefix);
        if (!key || pg::encoding_problem(*key)) {
            result.settled.push_back(name_of(*outcome));  // of another link, or database
        } else if (!stamped.add(std::move(*key), *outcome)) {
            result.postponed.push_back(name_of(*outcome));
        }
    }
    if (stamped.records.empty()) {
        return result;
    }
    take_places(link, stamped, result);
    const Copies copies = let_copies_go(link, stamped);
    ask_for_originals(link, stamped);
    std::set<const Outcome*> moved;
    for (const auto& [record, outcome] : result.moved) {
        moved.insert(outcome);
    }
    for (std::size_t place = 0; place < stamped.records.size(); ++place) {
        const Outcome* outcome =
            stamped.items.at({stamped.records[place], stamped.mailboxes[place]});
        if (moved.contains(outcome)) {
            continue;
        }
        if (copies.undecided.contains(place)) {
            const std::string& record = stamped.records[place];
            result.failures.push_back(
                {name_of(*outcome),
                 ambiguous_code,
                 "it may be what record " + record + " had here before its item was made anew",
                 {record},
                 made_at(*outcome)});
        } else {
            (copies.let_go.contains(place) ? result.settled : result.postponed)
                .push_back(name_of(*outcome));
        }
    }
    return result;
}

void note_originals(const std::vector<const Outcome*>& known) {
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::BigintArray attempts;
    for (const Outcome* outcome : known) {
        mailboxes.push_back(outcome->mailbox);
        ids.push_back(outcome->item.id);
        attempts.push_back(outcome->held.attempt);
    }
    if (!ids.empty()) {
        pg::query(
            "UPDATE crmsync.arrival a SET original_attempt = u.attempt "
            "FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS u(mailbox, id, attempt) "
            "WHERE a.mailbox = u.mailbox AND a.original = u.id",
            &mailboxes, &ids, &attempts);
    }
}

}  // namespace crmsync
