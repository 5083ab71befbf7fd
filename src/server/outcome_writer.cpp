#include "server/outcome_writer.h"

#include <algorithm>

#include "server/array_rows.h"
#include "server/arrivals.h"
#include "server/conflicts.h"
#include "server/echoes.h"
#include "server/folder_pages.h"
#include "server/history.h"
#include "server/jsonb_fields.h"
#include "server/late_creates.h"
#include "server/loops.h"
#include "server/pending_records.h"
#include "server/query.h"
#include "server/repair.h"
#include "server/retry_pauses.h"
#include "server/subtransaction.h"
#include "server/transaction.h"
#include "server/undo.h"

namespace crmsync {

namespace {

using sync::Outcome;
using sync::Result;

using LinkOfMailbox = std::map<int, int>;

struct Pairs {
    pg::TextArray records;
    pg::IntegerArray mailboxes;

    void add(const Outcome& outcome) {
        records.push_back(outcome.record);
        mailboxes.push_back(outcome.mailbox);
    }
    bool empty() const { return records.empty(); }
};

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
            std::erase_if(document, [&](const auto& pair) {
                return pair.first == rules.layout[place]->name;
            });
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
        }
    }

    void insert(const std::string& otherwise) const {
        pg::query(
            "INSERT INTO crmsync.item AS i "
            "(link, record, mailbox, remote_id, change_key, shadow, state) "
            "SELECT u.link, u.record, u.mailbox, u.remote_id, u.change_key, u.shadow, " +
                state_of_new_item + "FROM " +
                array_rows({{"link", "integer"},
                            {"record", "text"},
                            {"mailbox", "integer"},
                            {"remote_id", "text"},
                            {"change_key", "text"},
                            {"shadow", "jsonb"}}) +
                otherwise,
            &links_, &records_, &mailboxes_, &ids_, &change_keys_, &shadows_);
    }

  private:
    pg::IntegerArray links_;
    pg::TextViewArray records_;
    pg::IntegerArray mailboxes_;
    pg::TextViewArray ids_;
    pg::TextViewArray change_keys_;
    pg::JsonbArray shadows_;
};

std::string update_known(const char* shadow) {
    return " ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
           "change_key = excluded.change_key, shadow = " +
           std::string(shadow) +
           ", stamped = true, doubtful = false, "
           "remade = i.remade OR coalesce(i.remote_id <> excluded.remote_id, false), "
           "state = CASE WHEN i.state = 'leaving' THEN i.state ELSE 'linked' END";
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
    rows.insert(update_known("excluded.shadow"));
}

// An item that was changed still has what was written while more was mapped: that stays in its
// shadow, to be compared with when it is mapped again.
void write_changed_items(const std::vector<const Outcome*>& changed, const LinkOfMailbox& link_of) {
    ItemRows(changed, link_of, Absent::as_null)
        .insert(update_known(
            "pg_catalog.jsonb_strip_nulls(coalesce(i.shadow, '{}') || excluded.shadow)"));
}

void write_by_action(const std::vector<const Outcome*>& written, const LinkOfMailbox& link_of) {
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
    }
}

// Items of ours that were met in a mailbox without being asked for: known from now on, and looked
// at, since the CRM may not want them there.
void write_found(const std::vector<const Outcome*>& found) {
    Pairs pairs;
    pg::TextArray ids;
    pg::TextArray change_keys;
    for (const Outcome* outcome : found) {
        pairs.add(*outcome);
        ids.push_back(outcome->item.id);
        change_keys.push_back(outcome->item.change_key);
    }
    pg::query(
        "WITH known AS (INSERT INTO crmsync.item "
        "(link, record, mailbox, remote_id, change_key, state) "
        "SELECT m.link, u.record, m.id, u.remote_id, u.change_key, " +
            state_of_new_item +
            "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) "
            "AS u(record, mailbox, remote_id, change_key) "
            "JOIN crmsync.mailbox m ON m.id = u.mailbox "
            "ON CONFLICT (link, record, mailbox) DO NOTHING RETURNING link, record) "
            "INSERT INTO crmsync.pending AS p (link, tier, record) "
            "SELECT DISTINCT link, 1, record FROM known "
            "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        &pairs.records, &pairs.mailboxes, &ids, &change_keys);
}

// With their link from the same place, so that the whole key of an item comes from there: it is
// then looked up by all of it, whatever the statistics say.
const std::string of_pairs =
    "(SELECT m.link, p.record, p.mailbox FROM unnest($1::text[], $2::integer[]) AS p(record, "
    "mailbox) "
    "JOIN crmsync.mailbox m ON m.id = p.mailbox OFFSET 0) AS u ";

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
            of_pairs +
            "JOIN crmsync.link l ON l.id = u.link "
            "WHERE i.link = u.link AND i.record = u.record AND i.mailbox = u.mailbox "
            "AND i.state IN ('linked', 'leaving') AND i.origin <> 'crm' "
            "RETURNING i.link, i.record) "
            "INSERT INTO crmsync.pending AS p (link, tier, record) "
            "SELECT DISTINCT link, 1, record FROM missing "
            "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        &pairs.records, &pairs.mailboxes);
}

void remove_items(const std::vector<const Outcome*>& removed) {
    if (removed.empty()) {
        return;
    }
    Pairs pairs;
    for (const Outcome* outcome : removed) {
        pairs.add(*outcome);
    }
    // The guard counts what went by itself: somebody has looked at what was confirmed.
    pg::query(
        "WITH removed AS (DELETE FROM crmsync.item i "
        "USING " +
            of_pairs +
            "WHERE i.link = u.link AND i.record = u.record "
            "AND i.mailbox = u.mailbox AND i.state NOT IN ('absent', 'gone') "
            "RETURNING i.link, i.mailbox, i.record, i.renew, "
            "i.state = 'leaving' AND NOT i.confirmed AS counts), "
            "made_anew AS (INSERT INTO crmsync.pending AS p (link, tier, record) "
            "SELECT DISTINCT link, 1, record FROM removed WHERE renew "
            "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1) "
            "INSERT INTO crmsync.deletion AS d (link, mailbox, minute, count) "
            "SELECT link, mailbox, pg_catalog.date_trunc('minute', pg_catalog.now()), "
            "pg_catalog.count(*) FROM removed WHERE counts GROUP BY link, mailbox "
            "ON CONFLICT (link, mailbox, minute) DO UPDATE SET count = d.count + excluded.count",
        &pairs.records, &pairs.mailboxes);
}

// Whose it was stays known: its record may be wanted there again, and where mailboxes are read it
// would come in as a new item.
void unlink_items(const std::vector<const Outcome*>& unlinked) {
    Pairs pairs;
    for (const Outcome* outcome : unlinked) {
        pairs.add(*outcome);
    }
    pg::query(
        "WITH unlinked AS (UPDATE crmsync.item i SET state = 'unlinked', stamped = false, "
        "confirmed = false, since = pg_catalog.now() FROM " +
            of_pairs +
            "WHERE i.link = u.link AND i.record = u.record AND i.mailbox = u.mailbox "
            "AND i.state <> 'unlinked' "
            "RETURNING i.link, i.mailbox, i.record, i.remote_id, i.origin) "
            "INSERT INTO crmsync.conflict (link, mailbox, record, kind, item) "
            "SELECT link, mailbox, record, 'unlinked', remote_id FROM unlinked "
            "WHERE origin <> 'crm' AND remote_id IS NOT NULL "
            "ON CONFLICT (mailbox, item, kind) WHERE item IS NOT NULL DO UPDATE "
            "SET record = excluded.record, choice = NULL, at = pg_catalog.now()",
        &pairs.records, &pairs.mailboxes);
}

// Of what is not made again, since the policy says so, the link makes nothing, or nothing but our
// stamp was to be written. Other items may be of the record now.
void mark_gone(const std::vector<const Outcome*>& vanished) {
    Pairs pairs;
    for (const Outcome* outcome : vanished) {
        pairs.add(*outcome);
    }
    pg::query(
        "UPDATE crmsync.item i SET since = pg_catalog.now(), state = CASE l.on_target_delete "
        "WHEN 'unlink' THEN 'gone' WHEN 'delete' THEN 'removed' ELSE 'absent' END FROM " +
            of_pairs +
            "JOIN crmsync.link l ON l.id = u.link "
            "WHERE i.link = u.link AND i.record = u.record AND i.mailbox = u.mailbox",
        &pairs.records, &pairs.mailboxes);
    retry_ambiguous(pairs.mailboxes, pairs.records);
}

void clear_failures(const std::vector<Outcome>& outcomes) {
    Pairs pairs;
    for (const Outcome& outcome : outcomes) {
        if (carried_out(outcome.result) && !outcome.undo) {
            pairs.add(outcome);
        }
    }
    if (pairs.empty() || pg::query("SELECT FROM crmsync.failure LIMIT 1").empty()) {
        return;
    }
    pg::query("DELETE FROM crmsync.failure f USING " + of_pairs +
                  "WHERE f.link = u.link "
                  "AND f.mailbox = u.mailbox AND f.record = u.record",
              &pairs.records, &pairs.mailboxes);
}

void write_conflicts(const std::vector<Outcome>& outcomes) {
    Conflicts conflicts;
    for (const Outcome& outcome : outcomes) {
        if (outcome.result == Result::written ||
            outcome.result == Result::partly) {  // else nothing was decided yet
            note_conflicts(outcome.mailbox, outcome.record, outcome.conflicts, conflicts);
        }
    }
    crmsync::write_conflicts(conflicts);
}

// Not of one that is to be at another target: what is known of it here counts no more.
void write_mailboxes(const std::vector<sync::MailboxChange>& changes) {
    for (const sync::MailboxChange& change : changes) {
        const bool bad = change.failure.has_value();
        const std::int64_t pause = change.retry_after ? change.retry_after->count() : -1;
        pg::query(
            "UPDATE crmsync.mailbox SET folder_id = nullif($2, ''), attempts = $3, "
            "code = nullif($4, ''), message = nullif($5, ''), "
            "next_attempt = CASE WHEN $6 >= 0 THEN pg_catalog.now() "
            "+ $6 * interval '1 millisecond' END, "
            "since = CASE WHEN $4 = '' THEN NULL ELSE coalesce(since, pg_catalog.now()) END "
            "WHERE id = $1 AND code IS DISTINCT FROM 'MOVING'",
            change.mailbox, std::string_view(change.folder_id), change.attempts,
            std::string_view(bad ? change.failure->code : std::string()),
            std::string_view(bad ? change.failure->message : std::string()), pause);
    }
}

void write_targets(const std::vector<sync::TargetChange>& changes) {
    for (const sync::TargetChange& change : changes) {
        const bool bad = change.failure.has_value();
        const std::int64_t pause = change.retry_after ? change.retry_after->count() : -1;
        pg::query(
            "INSERT INTO crmsync.target_state AS s "
            "(target, attempts, code, message, next_attempt, since) "
            "SELECT t.name, $2, nullif($3, ''), nullif($4, ''), "
            "CASE WHEN $5 >= 0 THEN pg_catalog.now() + $5 * interval '1 millisecond' END, "
            "CASE WHEN $3 <> '' THEN pg_catalog.now() END "
            "FROM crmsync.target t WHERE t.name = $1 "
            "ON CONFLICT (target) DO UPDATE SET attempts = excluded.attempts, "
            "code = excluded.code, message = excluded.message, "
            "next_attempt = excluded.next_attempt, "
            "since = CASE WHEN excluded.code IS NOT NULL "
            "THEN coalesce(s.since, excluded.since) END",
            std::string_view(change.target), change.attempts,
            std::string_view(bad ? change.failure->code : std::string()),
            std::string_view(bad ? change.failure->message : std::string()), pause);
    }
}

// Those that are still there, and stay until the end of the transaction: a link that was dropped
// meanwhile takes its outcomes with it.
LinkOfMailbox links_of_mailboxes(const std::vector<Outcome>& outcomes) {
    pg::IntegerArray mailboxes;
    for (const Outcome& outcome : outcomes) {
        mailboxes.push_back(outcome.mailbox);
    }
    std::sort(mailboxes.begin(), mailboxes.end());
    mailboxes.erase(std::unique(mailboxes.begin(), mailboxes.end()), mailboxes.end());
    const pg::Rows rows = pg::query(
        "SELECT m.id, m.link FROM crmsync.mailbox m JOIN crmsync.link l ON l.id = m.link "
        "WHERE m.id = ANY ($1) FOR KEY SHARE",
        &mailboxes);
    LinkOfMailbox links;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        links.emplace(static_cast<int>(rows.integer(row, 0)),
                      static_cast<int>(rows.integer(row, 1)));
    }
    return links;
}

void write_outcomes(const std::vector<Outcome>& outcomes) {
    const LinkOfMailbox link_of = links_of_mailboxes(outcomes);
    write_history(outcomes);  // first: of what goes it wants to know the values
    std::map<Result, std::vector<const Outcome*>> by_result;
    std::vector<const Outcome*> undone;
    for (const Outcome& outcome : outcomes) {
        const auto link = link_of.find(outcome.mailbox);
        if (link == link_of.end()) {
            continue;
        }
        if (outcome.undo) {
            undone.push_back(&outcome);
        }
        if (!outcome.undo ||
            (outcome.result == Result::written && outcome.action == sync::Action::update)) {
            by_result[outcome.result].push_back(&outcome);
        }
    }
    for (const auto& [result, list] : by_result) {
        switch (result) {
            case Result::written:
            case Result::partly:
                write_by_action(list, link_of);
                break;
            case Result::found:
                write_found(list);
                break;
            case Result::removed: {
                const auto items = take_copies(list);
                note_missing(items);
                remove_items(items);
                break;
            }
            case Result::unlinked:
                unlink_items(take_copies(list));
                break;
            case Result::vanished:
                mark_gone(list);
                break;
            case Result::failed:
            case Result::postponed:
                write_failures(list);
                break;
            case Result::released:
            case Result::fetched:  // these two change nothing here: what is held has to come in
            case Result::overtaken:
                break;
        }
    }
    if (!undone.empty()) {
        note_undone(undone);
    }
    clear_failures(outcomes);
    if (by_result.contains(Result::written)) {
        note_written(by_result.at(Result::written));
    }
    write_conflicts(outcomes);
    const pg::IntegerArray links = [&] {
        pg::IntegerArray list;
        for (const auto& [mailbox, link] : link_of) {
            if (std::find(list.begin(), list.end(), link) == list.end()) {
                list.push_back(link);
            }
        }
        return list;
    }();
    if (by_result.contains(Result::written) || by_result.contains(Result::removed)) {
        pg::query(
            "UPDATE crmsync.link_state SET last_success = pg_catalog.now() "
            "WHERE link = ANY ($1) AND (last_success IS NULL "
            "OR last_success < pg_catalog.now() - interval '1 second')",
            &links);
    }
}

}  // namespace

void write_failures(const std::vector<const Outcome*>& failed) {
    Pairs pairs;
    pg::TextArray codes;
    pg::TextArray messages;
    for (const Outcome* outcome : failed) {
        pairs.add(*outcome);
        codes.push_back(outcome->result == Result::postponed ? "postponed" : outcome->failure.code);
        messages.push_back(outcome->failure.message);
    }
    pg::query(
        "INSERT INTO crmsync.failure AS f "
        "(link, mailbox, record, code, message, next_attempt) "
        "SELECT m.link, m.id, u.record, u.code, u.message, "
        "CASE WHEN u.code <> 'postponed' THEN pg_catalog.now() + (" +
            std::string(retry_pauses) +
            ")[1] END "
            "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) "
            "AS u(record, mailbox, code, message) "
            "JOIN crmsync.mailbox m ON m.id = u.mailbox "
            "ON CONFLICT (link, mailbox, record) DO UPDATE SET attempts = f.attempts + 1, "
            "code = excluded.code, message = excluded.message, "
            "next_attempt = CASE WHEN excluded.code <> 'postponed' THEN pg_catalog.now() + (" +
            std::string(retry_pauses) + ")[f.attempts + 1] END",
        &pairs.records, &pairs.mailboxes, &codes, &messages);
}

void write_results(const Results& results) {
    pg::Transaction transaction("recording results", pg::Transaction::read_committed);
    if (!results.outcomes.empty()) {
        write_outcomes(results.outcomes);
    }
    write_mailboxes(results.mailboxes);
    write_pages(results.pages);
    write_stamp_pages(results.stamp_pages);
    look_again_later(results.look_again);
    await_echoes(results.echoing);
    write_targets(results.targets);
    settle_pending(results.settled);
    transaction.commit_lazily();
}

}  // namespace crmsync
