#include "server/stamped_items.h"

#include <map>
#include <set>

#include "server/query.h"
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

    bool add(std::string record, const Outcome& outcome) {
        if (!items.try_emplace({record, outcome.mailbox}, &outcome).second) {
            return false;
        }
        records.push_back(std::move(record));
        mailboxes.push_back(outcome.mailbox);
        ids.push_back(outcome.item.id);
        change_keys.push_back(outcome.held.item.change_key);
        return true;
    }
};

void take_places(const LinkConfiguration& link, const Stamped& stamped, StampedItems& result) {
    const pg::Rows rows = pg::query(
        "INSERT INTO crmsync.item AS i (link, record, mailbox, remote_id, change_key) "
        "SELECT $5, u.record, u.mailbox, u.id, u.change_key "
        "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) "
        "AS u(record, mailbox, id, change_key) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox FOR KEY SHARE OF m "
        "ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
        "change_key = excluded.change_key, state = 'linked', confirmed = false, "
        "since = pg_catalog.now() "
        "WHERE i.state IN ('absent', 'gone', 'removed') RETURNING record, mailbox",
        &stamped.records, &stamped.mailboxes, &stamped.ids, &stamped.change_keys, link.id);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        std::string record = rows.string(row, 0);
        const Outcome* outcome = stamped.items.at({record, static_cast<int>(rows.integer(row, 1))});
        result.moved.emplace_back(std::move(record), outcome);
    }
}

// Those whose record has another item there: it is asked for, unless it has been since they came.
void ask_for_originals(const LinkConfiguration& link, const Stamped& stamped) {
    pg::query(
        "WITH copies AS (UPDATE crmsync.arrival a SET copy = true "
        "FROM unnest($1::text[], $2::integer[], $3::text[]) AS u(record, mailbox, id), "
        "crmsync.item i WHERE a.mailbox = u.mailbox AND a.remote_id = u.id AND NOT a.copy "
        "AND i.link = $4 AND i.record = u.record AND i.mailbox = u.mailbox "
        "AND i.remote_id <> u.id RETURNING i.mailbox, i.remote_id) "
        "INSERT INTO crmsync.arrival (mailbox, remote_id) SELECT DISTINCT mailbox, remote_id "
        "FROM copies ON CONFLICT (mailbox, remote_id) DO NOTHING",
        &stamped.records, &stamped.mailboxes, &stamped.ids, link.id);
}

// Copies for sure, by place: their stamps go. Those that may be what was there before the present
// item are left for somebody to decide about.
struct Copies {
    std::set<std::size_t> let_go;
    std::set<std::size_t> undecided;
};

Copies let_copies_go(const LinkConfiguration& link, const Stamped& stamped) {
    const pg::Rows rows = pg::query(
        "WITH copies AS (SELECT u.place, u.record, u.mailbox, u.id, u.change_key, "
        "i.remade AND $6 AND NOT EXISTS (SELECT FROM crmsync.conflict c WHERE c.mailbox = "
        "u.mailbox "
        "AND c.item = u.id AND c.kind = 'ambiguous' AND c.choice IS NOT NULL) AS undecided "
        "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) WITH ORDINALITY "
        "AS u(record, mailbox, id, change_key, place) "
        "JOIN crmsync.arrival a ON a.mailbox = u.mailbox AND a.remote_id = u.id AND a.copy "
        "JOIN crmsync.item i ON i.link = $5 AND i.record = u.record AND i.mailbox = u.mailbox "
        "AND i.remote_id <> u.id WHERE NOT EXISTS (SELECT FROM crmsync.arrival o "
        "WHERE o.mailbox = i.mailbox AND o.remote_id = i.remote_id AND o.code IS NULL)), "
        "strays AS (INSERT INTO crmsync.sighting (mailbox, remote_id, change_key, record, kind) "
        "SELECT mailbox, id, change_key, record, 'stray' FROM copies WHERE NOT undecided "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET kind = excluded.kind, "
        "change_key = excluded.change_key) SELECT place, undecided FROM copies",
        &stamped.records, &stamped.mailboxes, &stamped.ids, &stamped.change_keys, link.id,
        link.inbound);
    Copies copies;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        (rows.boolean(row, 1) ? copies.undecided : copies.let_go)
            .insert(static_cast<std::size_t>(rows.integer(row, 0)) - 1);
    }
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
        if (!key) {
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
                 "AMBIGUOUS",
                 "it may be what record " + record + " had here before its item was made anew",
                 {record},
                 outcome->held.created});
        } else {
            (copies.let_go.contains(place) ? result.settled : result.postponed)
                .push_back(name_of(*outcome));
        }
    }
    return result;
}

}  // namespace crmsync
