#include "server/state/loops.h"

#include <string>

#include "server/postgres/array_rows.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

using sync::Outcome;

// So often within so long of each other.
constexpr std::int32_t most_rounds = 5;
constexpr const char* forgotten_after = "interval '10 minutes'";

struct Bounces {
    pg::IntegerArray mailboxes;
    pg::TextArray records;
    pg::TextArray properties;  // names, with commas
    pg::TextArray values;

    void add(const Outcome& outcome) {
        std::string names;
        std::string held;
        for (const record::Field& field : outcome.fields) {
            names += (names.empty() ? "" : ",") + std::string(field.property->name);
            held += std::string(field.property->name) + '=' + field.value.value_or("") + '\n';
        }
        mailboxes.push_back(outcome.mailbox);
        records.push_back(outcome.record);
        properties.push_back(std::move(names));
        values.push_back(std::move(held));
    }
};

}  // namespace

void note_came_in(const std::vector<Outcome>& outcomes) {
    Bounces bounces;
    for (const Outcome& outcome : outcomes) {
        if (outcome.result == sync::Result::fetched && !outcome.before.empty()) {
            bounces.add(outcome);
        }
    }
    if (bounces.records.empty()) {
        return;
    }
    pg::query(
        "INSERT INTO crmsync.bounce AS b (mailbox, record, properties, held) "
        "SELECT m.id, u.record, u.properties, pg_catalog.md5(u.held) "
        "FROM " +
            array_rows({{"mailbox", "integer"},
                        {"record", "text"},
                        {"properties", "text"},
                        {"held", "text"}}) +
            "JOIN crmsync.mailbox m ON m.id = u.mailbox "
            "ON CONFLICT (mailbox, record) DO UPDATE SET properties = excluded.properties, "
            "times = CASE WHEN b.held = excluded.held AND b.last > pg_catalog.now() - " +
            std::string(forgotten_after) +
            " THEN b.times ELSE 0 END, held = excluded.held, came_in = true, "
            "last = pg_catalog.now()",
        &bounces.mailboxes, &bounces.records, &bounces.properties, &bounces.values);
}

void note_written(const std::vector<const Outcome*>& outcomes) {
    if (pg::query("SELECT FROM crmsync.bounce LIMIT 1").empty()) {
        return;
    }
    Bounces bounces;
    for (const Outcome* outcome : outcomes) {
        if (outcome->action == sync::Action::update && outcome->undo == sync::UndoStep::none) {
            bounces.add(*outcome);
        }
    }
    pg::query(
        "WITH round AS (UPDATE crmsync.bounce b SET came_in = false, times = b.times + 1, "
        "last = pg_catalog.now() FROM " +
            array_rows({{"mailbox", "integer"}, {"record", "text"}, {"properties", "text"}}) +
            "WHERE b.mailbox = u.mailbox AND b.record = u.record AND b.came_in "
            "AND pg_catalog.string_to_array(b.properties, ',') "
            "&& pg_catalog.string_to_array(u.properties, ',') "
            "RETURNING b.mailbox, b.record, b.properties, b.times) "
            "INSERT INTO crmsync.failure AS f (link, mailbox, record, code, message) "
            "SELECT m.link, m.id, r.record, $4, pg_catalog.format("
            "'something in the mailbox has made the same of what the CRM wrote %s times: %s', "
            "r.times, r.properties) FROM round r JOIN crmsync.mailbox m ON m.id = r.mailbox "
            "WHERE r.times >= $5 ON CONFLICT (link, mailbox, record) DO UPDATE "
            "SET code = excluded.code, message = excluded.message, next_attempt = NULL",
        &bounces.mailboxes, &bounces.records, &bounces.properties, std::string_view(loop_code),
        most_rounds);
}

void forget_bounces() {
    pg::query("DELETE FROM crmsync.bounce WHERE last < pg_catalog.now() - " +
              std::string(forgotten_after));
}

}  // namespace crmsync
