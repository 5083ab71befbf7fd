#include "server/outbound/outcome_writer.h"

#include <algorithm>
#include <map>

#include "server/outbound/item_writer.h"
#include "server/outbound/repair.h"
#include "server/outbound/stamped_copies.h"
#include "server/outbound/undo.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"
#include "server/state/arrivals.h"
#include "server/state/conflicts.h"
#include "server/state/echoes.h"
#include "server/state/folder_pages.h"
#include "server/state/history.h"
#include "server/state/late_creates.h"
#include "server/state/links_at_hand.h"
#include "server/state/loops.h"
#include "server/state/outcome_pairs.h"
#include "server/state/pending_records.h"
#include "server/state/refused_values.h"
#include "server/state/retry_pauses.h"

namespace crmsync {

namespace {

using sync::Outcome;
using sync::Result;

void clear_failures(const std::vector<Outcome>& outcomes) {
    Pairs pairs;
    for (const Outcome& outcome : outcomes) {
        if (carried_out(outcome.result) && outcome.undo == sync::UndoStep::none) {
            pairs.add(outcome);
        }
    }
    if (pairs.empty() || pg::query("SELECT FROM crmsync.failure LIMIT 1").empty()) {
        return;
    }
    pg::query("DELETE FROM crmsync.failure f USING " + of_pairs +
                  "WHERE f.link = u.link "
                  "AND f.mailbox = u.mailbox AND f.record = u.record",
              &pairs.records, &pairs.mailboxes, &pairs.ids);
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

// What is in a folder that its user has deleted is gone as if he had deleted it item by item. Where
// the mailbox is read that is found out by reading the folder that takes its place.
void note_deleted_folders(const std::vector<sync::MailboxChange>& changes) {
    for (const sync::MailboxChange& change : changes) {
        if (change.deleted_folder.empty()) {
            continue;
        }
        pg::query("UPDATE crmsync.mailbox SET deleted_folder = $2, sync_state = NULL WHERE id = $1",
                  change.mailbox, std::string_view(change.deleted_folder));
        pg::query(
            "WITH again AS (DELETE FROM crmsync.item i USING crmsync.link l WHERE l.id = i.link "
            "AND l.direction = 'outbound' AND l.on_target_delete = 'recreate' "
            "AND i.mailbox = $1 AND i.state = 'linked' RETURNING i.link, i.record) "
            "INSERT INTO crmsync.pending AS p (link, tier, record) "
            "SELECT link, 1, record FROM again ORDER BY record "
            "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
            change.mailbox);
        pg::query(
            "UPDATE crmsync.item i SET since = pg_catalog.now(), "
            "state = " +
                std::string(state_of_missing_item) +
                "FROM crmsync.link l WHERE l.id = i.link AND l.direction = 'outbound' "
                "AND i.mailbox = $1 AND i.state = 'linked'",
            change.mailbox);
    }
}

// Not of one that is to be at another target: what is known of it here counts no more.
void write_mailboxes(const std::vector<sync::MailboxChange>& changes) {
    for (const sync::MailboxChange& change : changes) {
        const bool bad = change.failure.has_value();
        pg::query(
            "UPDATE crmsync.mailbox SET folder_id = nullif($2, ''), "
            "deleted_folder = nullif(deleted_folder, $2), attempts = $3, "
            "code = nullif($4, ''), message = nullif($5, ''), "
            "next_attempt = CASE WHEN $4 <> '' THEN pg_catalog.now() "
            "+ $6 * interval '1 millisecond' END, disabled = $7, "
            "since = CASE WHEN $4 = '' THEN NULL ELSE coalesce(since, pg_catalog.now()) END "
            "WHERE id = $1 AND code IS DISTINCT FROM 'MOVING'",
            change.mailbox, std::string_view(change.folder_id), change.attempts,
            std::string_view(bad ? change.failure->code : std::string()),
            std::string_view(bad ? change.failure->message : std::string()),
            std::int64_t{change.retry_after.count()}, change.disabled);
    }
}

void write_targets(const std::vector<sync::TargetChange>& changes) {
    for (const sync::TargetChange& change : changes) {
        const bool bad = change.failure.has_value();
        const std::int64_t pause = change.retry_after ? change.retry_after->count() : -1;
        pg::query(
            "INSERT INTO crmsync.target_state AS s "
            "(target, attempts, code, message, next_attempt, since, last_success, accepted) "
            "SELECT t.name, $2, nullif($3, ''), nullif($4, ''), "
            "CASE WHEN $5 >= 0 THEN pg_catalog.now() + $5 * interval '1 millisecond' END, "
            "CASE WHEN $3 <> '' THEN pg_catalog.now() END, "
            "CASE WHEN $3 = '' THEN pg_catalog.now() END, CASE WHEN $6 THEN pg_catalog.now() END "
            "FROM crmsync.target t WHERE t.name = $1 "
            "ON CONFLICT (target) DO UPDATE SET attempts = excluded.attempts, "
            "code = excluded.code, message = excluded.message, "
            "next_attempt = excluded.next_attempt, "
            "since = CASE WHEN excluded.code IS NOT NULL "
            "THEN coalesce(s.since, excluded.since) END, "
            "last_success = coalesce(excluded.last_success, s.last_success), "
            "accepted = coalesce(excluded.accepted, s.accepted)",
            std::string_view(change.target), change.attempts,
            std::string_view(bad ? change.failure->code : std::string()),
            std::string_view(bad ? change.failure->message : std::string()), pause,
            change.accepted);
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
        if (outcome.undo != sync::UndoStep::none) {
            undone.push_back(&outcome);
        }
        if (outcome.undo == sync::UndoStep::none ||
            (outcome.undo == sync::UndoStep::item && outcome.result == Result::written)) {
            by_result[outcome.result].push_back(&outcome);
        }
    }
    // First: one that was met may have gone since.
    if (by_result.contains(Result::found)) {
        write_found(by_result.at(Result::found));
    }
    for (const auto& [result, list] : by_result) {
        switch (result) {
            case Result::written:
            case Result::partly:
                write_items(list, link_of);
                break;
            case Result::removed:
                note_moved(list);
                remove_items(take_copies(list));
                break;
            case Result::unlinked:
                note_moved(list);
                unlink_items(take_copies(list));
                break;
            case Result::vanished:
                mark_gone(list);
                break;
            case Result::failed:
            case Result::postponed:
                write_failures(list);
                break;
            case Result::found:
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
        retry_written(by_result.at(Result::written));
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
    const Pairs pairs(failed);
    pg::TextArray codes;
    pg::TextArray messages;
    pg::BigintArray refused;
    for (const Outcome* outcome : failed) {
        codes.push_back(outcome->result == Result::postponed ? "POSTPONED" : outcome->failure.code);
        messages.push_back(outcome->failure.message);
        refused.push_back(hash_of_values(outcome->desired.get()));
    }
    pg::query(
        "INSERT INTO crmsync.failure AS f "
        "(link, mailbox, record, attempts, code, message, refused, next_attempt) "
        "SELECT DISTINCT ON (m.id, u.record) m.link, m.id, u.record, "
        "(u.code <> 'POSTPONED')::integer, u.code, u.message, u.refused, "
        "CASE WHEN u.code <> 'POSTPONED' THEN pg_catalog.now() + " +
            retry_pauses("u.code") +
            "[1] END "
            "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[]) "
            "WITH ORDINALITY AS u(record, mailbox, code, message, refused, place) "
            "JOIN crmsync.mailbox m ON m.id = u.mailbox "
            // Of several the last that says what is wrong with the record itself.
            "ORDER BY m.id, u.record, u.code = 'POSTPONED', u.place DESC" +
            or_once_more(),
        &pairs.records, &pairs.mailboxes, &codes, &messages, &refused);
}

std::set<int> write_results(const Results& results, const std::set<int>& links) {
    pg::Transaction transaction("recording results", pg::Transaction::read_committed);
    if (auto removed = links_being_removed(links); !removed.empty()) {
        return removed;
    }
    look_again_later(results.look_again);     // before what may have to be looked at again
    write_stamp_pages(results.stamp_pages);   // before what has gone since it was listed
    note_deleted_folders(results.mailboxes);  // before what was made in the next one
    if (!results.outcomes.empty()) {
        write_outcomes(results.outcomes);
    }
    write_mailboxes(results.mailboxes);
    write_pages(results.pages);
    await_echoes(results.echoing);
    write_targets(results.targets);
    settle_pending(results.settled);
    transaction.commit_lazily();
    return {};
}

}  // namespace crmsync
