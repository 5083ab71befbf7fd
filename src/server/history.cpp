#include "server/history.h"

#include <string>

#include "server/jsonb_fields.h"
#include "server/query.h"
#include "server/table.h"
#include "server/transaction.h"

namespace crmsync {

namespace {

using sync::Action;
using sync::Outcome;
using sync::Result;

// Default of the link option history_keep; a third of it is one table's turn.
constexpr std::int64_t default_keep_seconds = 30 * 24 * 3600;

const char* action_name(const Outcome& outcome) {
    if (outcome.result == Result::vanished) {
        return "vanished";
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
    }
    return "";
}

// Which table of the ring is written to now: by time alone, so that nothing has to be stored.
std::int64_t turn_seconds() {
    const pg::Rows rows = pg::query(
        "SELECT GREATEST(60, pg_catalog.max(coalesce(extract(epoch FROM "
        "(options->>'history_keep')::interval)::bigint, $1)) / 3) FROM crmsync.link",
        default_keep_seconds);
    return rows.is_null(0, 0) ? default_keep_seconds / 3 : rows.integer(0, 0);
}

int current_table(std::int64_t turn) {
    const pg::Rows rows =
        pg::query("SELECT (extract(epoch FROM pg_catalog.now())::bigint / $1 % 3)::integer", turn);
    return static_cast<int>(rows.integer(0, 0));
}

std::string insert_statement(int table) {
    return "INSERT INTO crmsync.history_" + std::to_string(table) +
           " (at, link, mailbox, record, action, result, code, message, old, new) "
           "SELECT pg_catalog.now(), m.link, m.address, u.record, u.action, u.result, "
           "nullif(u.code, ''), nullif(u.message, ''), u.old, u.new "
           "FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[], "
           "$6::text[], $7::jsonb[], $8::jsonb[]) "
           "AS u(mailbox, record, action, result, code, message, old, new) "
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
    pg::TextArray records;
    pg::TextArray actions;
    pg::TextArray results;
    pg::TextArray codes;
    pg::TextArray messages;
    pg::JsonbArray old;
    pg::JsonbArray now;
    for (const Outcome& outcome : outcomes) {
        if (outcome.result == Result::released || outcome.result == Result::postponed ||
            outcome.result == Result::found) {
            continue;
        }
        mailboxes.push_back(outcome.mailbox);
        records.push_back(outcome.record);
        actions.emplace_back(action_name(outcome));
        results.emplace_back(outcome.result == Result::failed ? "failed" : "done");
        codes.push_back(outcome.failure.code);
        messages.push_back(outcome.failure.message);
        // The values of a new item are its shadow; only what was changed is worth a copy.
        const bool changed = outcome.action == Action::update && !outcome.before.empty();
        old.documents.push_back(changed ? std::optional(old_values(outcome)) : std::nullopt);
        now.documents.push_back(changed ? std::optional(document_of(outcome.fields))
                                        : std::nullopt);
    }
    if (records.empty()) {
        return;
    }
    pg::query(insert_statement(current_table(turn_seconds())), &mailboxes, &records, &actions,
              &results, &codes, &messages, &old, &now);
}

std::string current_history_table() {
    return "crmsync.history_" + std::to_string(current_table(turn_seconds()));
}

void rotate_history() {
    pg::Transaction transaction("rotating the history", pg::Transaction::Isolation::read_committed);
    const std::int64_t turn = turn_seconds();
    const int next = (current_table(turn) + 1) % 3;
    const std::string table = "crmsync.history_" + std::to_string(next);
    if (!pg::query("SELECT FROM " + table + " LIMIT 1").empty()) {
        pg::empty_table(static_cast<Oid>(
            pg::query("SELECT $1::pg_catalog.regclass::oid", std::string_view(table))
                .integer(0, 0)));
    }
    pg::query(
        "DELETE FROM crmsync.conflict c USING crmsync.link l WHERE l.id = c.link "
        "AND c.winner IS NOT NULL AND c.at < pg_catalog.now() "
        "- coalesce((l.options->>'history_keep')::interval, $1 * interval '1 second')",
        default_keep_seconds);
    pg::query("DELETE FROM crmsync.deletion WHERE minute < pg_catalog.now() - interval '2 hours'");
    transaction.commit();
}

}  // namespace crmsync
