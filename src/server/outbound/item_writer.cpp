#include "server/outbound/item_writer.h"

#include "server/outbound/delete_guard.h"
#include "server/outbound/stamped_copies.h"
#include "server/postgres/array_rows.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/subtransaction.h"
#include "server/state/arrivals.h"
#include "server/state/outcome_pairs.h"
#include "server/state/pending_records.h"

namespace crmsync {

namespace {

using sync::Outcome;

// What was under way when its mailbox's items were withdrawn is withdrawn, too.
const std::string state_of_new_item =
    "CASE WHEN u.mailbox IN (SELECT p.mailbox FROM crmsync.repair p WHERE p.mode = 'withdraw') "
    "THEN 'leaving' ELSE 'linked' END ";

// What only comes in was not written.
pg::JsonbArray::Document shadow_of(const Outcome& outcome, Absent absent) {
    const sync::Rules& rules = *outcome.desired->rules;
    auto document = document_of(rules.layout,
                                outcome.agreed ? *outcome.agreed : outcome.desired->values, absent);
    for (std::size_t place = 0; place < rules.layout.size(); ++place) {
        if (rules.fields[place].access == record::Access::inbound) {
            leave_out(*rules.layout[place], document);
        }
    }
    return document;
}

// Of outcomes that outlive it.
class ItemRows {
  public:
    ItemRows(const std::vector<const Outcome*>& written, const LinkOfMailbox& link_of,
             Absent absent) {
        for (const Outcome* outcome : written) {
            links_.push_back(link_of.at(outcome->mailbox));
            records_.emplace_back(outcome->record);
            mailboxes_.push_back(outcome->mailbox);
            ids_.emplace_back(outcome->item.id);
            change_keys_.emplace_back(outcome->item.change_key);
            // By the layout that it was decided with: the link may be enabled with another one by
            // now, or not at all, and the item is there all the same.
            shadows_.documents.push_back(shadow_of(*outcome, absent));
            adopted_.push_back(outcome->adopted ? 1 : 0);
        }
    }

    void insert(const std::string& otherwise) const {
        pg::query(
            "INSERT INTO crmsync.item AS i "
            "(link, record, mailbox, remote_id, change_key, shadow, origin, state) "
            "SELECT u.link, u.record, u.mailbox, u.remote_id, u.change_key, u.shadow, " +
                std::string(origin_of_new_item) + ", " + state_of_new_item + "FROM " +
                array_rows({{"link", "integer"},
                            {"record", "text"},
                            {"mailbox", "integer"},
                            {"remote_id", "text"},
                            {"change_key", "text"},
                            {"shadow", "jsonb"},
                            {"adopted", "integer"}}) +
                otherwise,
            &links_, &records_, &mailboxes_, &ids_, &change_keys_, &shadows_, &adopted_);
    }

  private:
    pg::IntegerArray links_;
    pg::TextViewArray records_;
    pg::IntegerArray mailboxes_;
    pg::TextViewArray ids_;
    pg::TextViewArray change_keys_;
    pg::JsonbArray shadows_;
    pg::IntegerArray adopted_;
};

std::string update_known(const char* shadow, const char* doubtful) {
    return " ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
           "change_key = excluded.change_key, shadow = " +
           std::string(shadow) + ", stamped = true, doubtful = " + doubtful +
           ", "
           "remade = i.remade OR coalesce(i.remote_id <> excluded.remote_id, false), "
           "state = CASE WHEN i.state = 'leaving' THEN i.state "
           "WHEN i.origin = 'crm' THEN excluded.state ELSE 'linked' END";
}

// Of a new item all is known. Most were never there before, and to look for each would cost a
// fifth of its insert.
void write_new_items(const std::vector<const Outcome*>& created, const LinkOfMailbox& link_of) {
    const ItemRows rows(created, link_of, Absent::left_out);
    const auto error = pg::subtransaction([&] { rows.insert(""); });
    if (!error) {
        return;
    }
    if (error->sqlstate != ERRCODE_UNIQUE_VIOLATION) {
        throw pg::Error(*error);
    }
    rows.insert(update_known("excluded.shadow", "false"));
}

// An item that was changed still has what was written while more was mapped: that stays in its
// shadow, to be compared with when it is mapped again. A delete that may come late may yet meet it.
void write_changed_items(const std::vector<const Outcome*>& changed, const LinkOfMailbox& link_of) {
    ItemRows(changed, link_of, Absent::as_null)
        .insert(update_known(
            "pg_catalog.jsonb_strip_nulls(coalesce(i.shadow, '{}') || excluded.shadow)",
            "i.doubtful AND EXISTS (SELECT FROM crmsync.mailbox m WHERE m.id = i.mailbox "
            "AND m.look_again < 'infinity')"));
}

// Where an item that a user made was to lose its stamp, and is away, he may bring it back: whose it
// is stays known as long as its record does.
void note_missing(const std::vector<const Outcome*>& removed) {
    Pairs pairs;
    for (const Outcome* outcome : removed) {
        if (outcome->action == sync::Action::unlink) {
            pairs.add(*outcome);
        }
    }
    if (pairs.empty()) {
        return;
    }
    pg::query(
        "WITH missing AS (UPDATE crmsync.item i SET since = pg_catalog.now(), "
        "state = CASE l.on_target_delete WHEN 'unlink' THEN 'gone' ELSE 'absent' END FROM " +
            of_pairs + "JOIN crmsync.link l ON l.id = u.link WHERE " + is_that_item +
            "AND i.state IN ('linked', 'leaving') AND i.origin <> 'crm' "
            "RETURNING i.link, i.record) " +
            become_pending("missing"),
        &pairs.records, &pairs.mailboxes, &pairs.ids);
}

}  // namespace

void write_items(const std::vector<const Outcome*>& written, const LinkOfMailbox& link_of) {
    std::vector<const Outcome*> created;
    std::vector<const Outcome*> changed;
    for (const Outcome* outcome : written) {
        (outcome->action == sync::Action::create ? created : changed).push_back(outcome);
    }
    if (!created.empty()) {
        write_new_items(created, link_of);
    }
    if (!changed.empty()) {
        write_changed_items(changed, link_of);
        keep_copies(changed);
    }
}

// Items of ours that were met in a mailbox without being asked for: known from now on, and looked
// at, since the CRM may not want them there.
void write_found(const std::vector<const Outcome*>& found) {
    const Pairs pairs(found);
    pg::TextArray change_keys;
    pg::IntegerArray adopted;
    for (const Outcome* outcome : found) {
        change_keys.push_back(outcome->item.change_key);
        adopted.push_back(outcome->adopted ? 1 : 0);
    }
    pg::query(
        "WITH known AS (INSERT INTO crmsync.item "
        "(link, record, mailbox, remote_id, change_key, origin, state) "
        "SELECT m.link, u.record, m.id, u.remote_id, u.change_key, " +
            std::string(origin_of_new_item) + ", " + state_of_new_item +
            "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::integer[]) "
            "AS u(record, mailbox, remote_id, change_key, adopted) "
            "JOIN crmsync.mailbox m ON m.id = u.mailbox WHERE " +
            is_not_undone +
            "ON CONFLICT (link, record, mailbox) DO NOTHING RETURNING link, record) " +
            become_pending("known"),
        &pairs.records, &pairs.mailboxes, &pairs.ids, &change_keys, &adopted);
}

void note_moved(const std::vector<const Outcome*>& outcomes) {
    Pairs pairs;
    pg::TextArray known_as;
    for (const Outcome* outcome : outcomes) {
        if (!outcome->known_as.empty()) {
            pairs.add(*outcome);
            known_as.push_back(outcome->known_as);
        }
    }
    if (pairs.empty()) {
        return;
    }
    forget_copies(pairs);
    // Unless another one has been taken for it meanwhile, which has its own turn.
    pg::query(
        "UPDATE crmsync.item i SET remote_id = u.id "
        "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) "
        "AS u(record, mailbox, id, known_as) JOIN crmsync.mailbox m ON m.id = u.mailbox "
        "WHERE i.link = m.link AND i.record = u.record AND i.mailbox = u.mailbox "
        "AND i.remote_id = u.known_as",
        &pairs.records, &pairs.mailboxes, &pairs.ids, &known_as);
}

void remove_items(const std::vector<const Outcome*>& removed) {
    if (removed.empty()) {
        return;
    }
    note_missing(removed);
    const Pairs pairs(removed);
    forget_listed(pairs);
    // The guard counts what went by itself: somebody has looked at what was confirmed.
    pg::query(
        "WITH removed AS (DELETE FROM crmsync.item i "
        "USING " +
            of_pairs + "WHERE " + is_that_item +
            "AND i.state NOT IN ('absent', 'gone') "
            "RETURNING i.link, i.mailbox, i.record, i.renew, "
            "i.state = 'leaving' AND NOT i.confirmed AS counts), "
            "made_anew AS (" +
            become_pending("removed WHERE renew") + ") " + count_deletes("removed WHERE counts"),
        &pairs.records, &pairs.mailboxes, &pairs.ids);
}

namespace {

// Copies that turned out to be their user's when they were to be deleted: no record has anything to
// do with them. Those that were to be made anew are; and where mailboxes are read a copy comes in
// as a new item, also if it was without a stamp before we heard of it.
void forget_items(const std::vector<const Outcome*>& copies) {
    const Pairs pairs(copies);
    forget_listed(pairs);
    pg::query(
        "WITH forgotten AS (DELETE FROM crmsync.item i USING " + of_pairs + "WHERE " +
            is_that_item +
            "RETURNING i.link, i.record, i.mailbox, i.remote_id), "
            "comes_in AS (INSERT INTO crmsync.arrival (mailbox, remote_id) "
            "SELECT f.mailbox, f.remote_id FROM forgotten f "
            "JOIN crmsync.link l ON l.id = f.link AND l.enabled AND l.direction <> 'outbound' "
            "ON CONFLICT (mailbox, remote_id) DO NOTHING) " +
            become_pending("forgotten WHERE link IN (SELECT id FROM crmsync.link WHERE enabled)"),
        &pairs.records, &pairs.mailboxes, &pairs.ids);
}

}  // namespace

// Whose it was stays known: its record may be wanted there again, and where mailboxes are read it
// would come in as a new item.
void unlink_items(const std::vector<const Outcome*>& outcomes) {
    std::vector<const Outcome*> copies;
    std::vector<const Outcome*> unlinked;
    for (const Outcome* outcome : outcomes) {
        (outcome->copy ? copies : unlinked).push_back(outcome);
    }
    if (!copies.empty()) {
        forget_items(copies);
    }
    const Pairs pairs(unlinked);
    // What was left to its user before may have got our stamp again without our hearing of it.
    pg::query("UPDATE crmsync.item i SET stamped = false FROM " + of_pairs + "WHERE " +
                  is_that_item + "AND i.state = 'unlinked' AND i.stamped",
              &pairs.records, &pairs.mailboxes, &pairs.ids);
    pg::query(
        "WITH unlinked AS (UPDATE crmsync.item i SET state = 'unlinked', stamped = false, "
        "confirmed = false, since = pg_catalog.now() FROM " +
            of_pairs + "WHERE " + is_that_item +
            "AND i.state <> 'unlinked' "
            "RETURNING i.link, i.mailbox, i.record, i.remote_id, i.origin) "
            "INSERT INTO crmsync.conflict (link, mailbox, record, kind, item) "
            "SELECT link, mailbox, record, 'unlinked', remote_id FROM unlinked "
            "WHERE origin <> 'crm' AND remote_id IS NOT NULL "
            "ON CONFLICT (mailbox, item, kind) WHERE item IS NOT NULL DO UPDATE "
            "SET record = excluded.record, choice = NULL, at = pg_catalog.now()",
        &pairs.records, &pairs.mailboxes, &pairs.ids);
}

// Of what is not made again, since the policy says so, the link makes nothing, or nothing but our
// stamp was to be written. Other items may be of the record now.
void mark_gone(const std::vector<const Outcome*>& vanished) {
    const Pairs pairs(vanished);
    pg::query("UPDATE crmsync.item i SET since = pg_catalog.now(), state = " +
                  std::string(state_of_missing_item) + "FROM " + of_pairs +
                  "JOIN crmsync.link l ON l.id = u.link "
                  "WHERE i.link = u.link AND i.record = u.record AND i.mailbox = u.mailbox",
              &pairs.records, &pairs.mailboxes, &pairs.ids);
    retry_ambiguous(pairs.mailboxes, pairs.records);
}

}  // namespace crmsync
