#include "server/state/history.h"

#include <string>

#include "server/postgres/array_rows.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/preload.h"
#include "server/postgres/query.h"
#include "server/postgres/table.h"
#include "server/postgres/transaction.h"
#include "server/state/loops.h"

extern "C" {
#include "storage/lmgr.h"
}

namespace crmsync {

namespace {

using sync::Action;
using sync::Outcome;
using sync::Result;

// Default of the link option history_keep.
constexpr std::int64_t default_keep_seconds = 30 * 24 * 3600;

constexpr int tables = 3;

std::string table_name(int table) {
    return "crmsync.history_" + std::to_string(table);
}

const char* action_name(const Outcome& outcome) {
    if (outcome.result == Result::vanished) {
        return "vanished";
    }
    if (outcome.result == Result::removed && outcome.action == Action::fetch) {
        return "delete record";
    }
    if (outcome.undo != sync::UndoStep::none) {
        return outcome.action == Action::fetch ? "undo bring in" : "undo";
    }
    switch (outcome.action) {
        case Action::create:
            return "create";
        case Action::update:
            return "update";
        case Action::remove:
            return "delete";
        case Action::unlink:
            return "unlink";
        case Action::fetch:
            return "bring in";
    }
    return "";
}

// Which table of the ring is written to now.
int current_table() {
    const pg::Rows rows =
        pg::query("SELECT (turn % $1)::integer FROM crmsync.history_turn", tables);
    return rows.empty() ? 0 : static_cast<int>(rows.integer(0, 0));
}

// A table's turn is half as long as everything is to be kept: when the oldest is emptied, the two
// others hold at least that. A table that has its share of the size has its turn end early.
bool turn_is_over(int table) {
    const pg::Rows rows = pg::query(
        "SELECT t.since + GREATEST(interval '1 minute', coalesce((SELECT "
        "pg_catalog.max((l.options->>'history_keep')::interval) FROM crmsync.link l), "
        "$1 * interval '1 second') / 2) <= pg_catalog.now() "
        "OR pg_catalog.pg_total_relation_size($2::pg_catalog.regclass) > $3 "
        "FROM crmsync.history_turn t",
        default_keep_seconds, std::string_view(table_name(table)),
        preload().max_history_size() / tables);
    return rows.empty() || rows.boolean(0, 0);
}

// False: somebody reads it.
bool empty_if_unused(const std::string& table) {
    const Oid oid = static_cast<Oid>(
        pg::query("SELECT $1::pg_catalog.regclass::oid", std::string_view(table)).integer(0, 0));
    if (!pg::guard([&] { return ConditionalLockRelationOid(oid, AccessExclusiveLock); })) {
        return false;
    }
    pg::empty_table(oid);
    return true;
}

std::string insert_statement(int table) {
    return "INSERT INTO " + table_name(table) +
           " (at, link, mailbox_id, mailbox, record, action, result, code, message, old, new) "
           "SELECT pg_catalog.now(), m.link, m.id, m.address, u.record, u.action, u.result, "
           "nullif(u.code, ''), nullif(u.message, ''), "
           // An item that is about to go has its values in its shadow.
           "CASE WHEN u.action = 'delete' AND u.result = 'done' THEN (SELECT i.shadow "
           "FROM crmsync.item i WHERE i.link = m.link AND i.record = u.record "
           "AND i.mailbox = u.mailbox) ELSE u.old END, u.new "
           "FROM " +
           array_rows({{"mailbox", "integer"},
                       {"record", "text"},
                       {"action", "text"},
                       {"result", "text"},
                       {"code", "text"},
                       {"message", "text"},
                       {"old", "jsonb"},
                       {"new", "jsonb"}}) +
           "JOIN crmsync.mailbox m ON m.id = u.mailbox";
}

pg::JsonbArray::Document old_values(const Outcome& outcome) {
    pg::JsonbArray::Document document;
    for (std::size_t i = 0; i < outcome.before.size(); ++i) {
        const record::Value& value = outcome.before[i];
        document.emplace_back(outcome.fields[i].property->name,
                              value ? std::optional<std::string_view>(*value) : std::nullopt);
    }
    return document;
}

}  // namespace

void write_history(const std::vector<Outcome>& outcomes) {
    pg::IntegerArray mailboxes;
    pg::TextViewArray records;
    pg::TextViewArray actions;
    pg::TextViewArray results;
    pg::TextViewArray codes;
    pg::TextViewArray messages;
    pg::JsonbArray old;
    pg::JsonbArray now;
    for (const Outcome& outcome : outcomes) {
        if (!carried_out(outcome.result) && outcome.result != Result::fetched &&
            outcome.result != Result::failed && outcome.result != Result::partly) {
            continue;
        }
        if (outcome.result == Result::partly && outcome.action == Action::update &&
            outcome.fields.empty()) {
            continue;  // the photo is what there was to write
        }
        if (outcome.undo != sync::UndoStep::none &&
            (outcome.result == Result::unlinked ||
             (outcome.action == Action::update && outcome.fields.empty() &&
              outcome.result == Result::written))) {
            continue;  // the end of what was said when it was created; nothing was brought back
        }
        mailboxes.push_back(outcome.mailbox);
        records.emplace_back(outcome.record);
        actions.emplace_back(action_name(outcome));
        results.emplace_back(outcome.result == Result::failed ? "failed" : "done");
        codes.emplace_back(outcome.failure.code);
        messages.emplace_back(outcome.failure.message);
        // The values of a new item are its shadow; only what was changed is worth a copy.
        const bool has_old =
            (outcome.action == Action::update || outcome.action == Action::fetch) &&
            !outcome.before.empty();
        const bool is_new_row = outcome.action == Action::fetch && !outcome.fields.empty();
        old.documents.push_back(has_old ? std::optional(old_values(outcome)) : std::nullopt);
        now.documents.push_back(has_old || is_new_row ? std::optional(document_of(outcome.fields))
                                                      : std::nullopt);
    }
    if (records.empty()) {
        return;
    }
    pg::query(insert_statement(current_table()), &mailboxes, &records, &actions, &results, &codes,
              &messages, &old, &now);
}

std::string current_history_table() {
    return table_name(current_table());
}

void turn_history() {
    const int current = current_table();
    if (turn_is_over(current) && empty_if_unused(table_name((current + 1) % tables))) {
        pg::query(
            "INSERT INTO crmsync.history_turn AS t DEFAULT VALUES ON CONFLICT (only_row) "
            "DO UPDATE SET turn = t.turn + 1, since = pg_catalog.now()");
    }
}

void forget_old() {
    pg::Transaction transaction("forgetting what is old", pg::Transaction::read_committed);
    turn_history();
    pg::query(
        "DELETE FROM crmsync.conflict c USING crmsync.link l WHERE l.id = c.link "
        "AND (c.winner IS NOT NULL OR c.choice IS NOT NULL AND c.kind <> 'ambiguous' OR c.kind <> "
        "'field' AND NOT EXISTS (SELECT FROM crmsync.open_conflict o WHERE o.id = c.id)) AND c.at "
        "< pg_catalog.now() "
        "- coalesce((l.options->>'history_keep')::interval, $1 * interval '1 second')",
        default_keep_seconds);
    forget_bounces();
    pg::query("DELETE FROM crmsync.deletion WHERE minute < pg_catalog.now() - interval '2 hours'");
    transaction.commit();
}

namespace {

Datum turn_history_now(FunctionCallInfo) {
    turn_history();
    return Datum(0);
}

}  // namespace

}  // namespace crmsync

CRMSYNC_SQL_FUNCTION(crmsync_turn_history, crmsync::turn_history_now);
