#include "server/outbound/stamped_copies.h"

#include <algorithm>
#include <string>

#include "server/outbound/delete_guard.h"
#include "server/postgres/query.h"
#include "server/state/late_creates.h"
#include "server/state/outcome_pairs.h"
#include "server/state/pending_records.h"

namespace crmsync {

using sync::Outcome;
using sync::Result;

namespace {

// Found to be copies, and not gone yet.
bool any_copies() {
    return !pg::query("SELECT FROM crmsync.sighting WHERE kind IN ('surplus', 'stray') LIMIT 1")
                .empty();
}

}  // namespace

std::set<ItemName> copies_among(const std::vector<Outcome>& outcomes) {
    Pairs names;
    for (const Outcome& outcome : outcomes) {
        names.add(outcome);
    }
    const pg::Rows rows = pg::query(
        "SELECT s.mailbox, s.remote_id FROM unnest($1::integer[], $2::text[]) AS u(mailbox, id) "
        "JOIN crmsync.sighting s ON s.mailbox = u.mailbox AND s.remote_id = u.id "
        "WHERE s.kind IN ('copy', 'late')",
        &names.mailboxes, &names.ids);
    std::set<ItemName> copies;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        copies.emplace(static_cast<int>(rows.integer(row, 0)), rows.string(row, 1));
    }
    return copies;
}

void judge_copies(const LinkConfiguration& link, const std::vector<const Outcome*>& copies) {
    if (copies.empty()) {
        return;
    }
    const Pairs names(copies);
    const pg::Rows rows = pg::query(
        "SELECT u.place, i.shadow FROM unnest($2::integer[], $3::text[]) WITH ORDINALITY "
        "AS u(mailbox, record, place) JOIN crmsync.item i "
        "ON i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox",
        link.id, &names.mailboxes, &names.records);
    pg::IntegerArray same(copies.size(), 0);
    pg::IntegerArray untouched(copies.size(), 0);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto place = static_cast<std::size_t>(rows.integer(row, 0)) - 1;
        const Jsonb* shadow = rows.is_null(row, 1) ? nullptr : rows.jsonb(row, 1);
        const bool is_same = holds_the_same(link, shadow, *copies[place]);
        same[place] = is_same ? 1 : 0;
        untouched[place] = is_untouched(*copies[place], is_same) ? 1 : 0;
    }
    pg::query(
        "UPDATE crmsync.sighting s SET since = pg_catalog.clock_timestamp(), "
        "kind = CASE WHEN CASE s.kind WHEN 'late' THEN u.untouched ELSE u.same END = 1 "
        "THEN 'surplus' ELSE 'stray' END, confirmed = s.kind = 'late' AND u.untouched = 1 "
        "FROM unnest($1::integer[], $2::text[], $3::integer[], $4::integer[]) "
        "AS u(mailbox, id, same, untouched) "
        "WHERE s.mailbox = u.mailbox AND s.remote_id = u.id AND s.kind IN ('copy', 'late')",
        &names.mailboxes, &names.ids, &same, &untouched);
}

void forget_copies(const Pairs& copies) {
    if (!copies.empty()) {
        pg::query(
            "DELETE FROM crmsync.sighting s USING unnest($1::integer[], $2::text[]) "
            "AS u(mailbox, id) WHERE s.mailbox = u.mailbox AND s.remote_id = u.id "
            "AND s.kind IN ('copy', 'late')",
            &copies.mailboxes, &copies.ids);
    }
}

void forget_listed(const Pairs& gone) {
    pg::query(
        "DELETE FROM crmsync.sighting s USING unnest($1::integer[], $2::text[]) "
        "AS u(mailbox, id) WHERE s.mailbox = u.mailbox AND s.remote_id = u.id "
        "AND s.kind = 'listed'",
        &gone.mailboxes, &gone.ids);
}

void keep_copies(const std::vector<const Outcome*>& written) {
    if (!any_copies()) {
        return;
    }
    const Pairs names(written);
    pg::query(
        "DELETE FROM crmsync.sighting s USING unnest($1::integer[], $2::text[]) "
        "AS u(mailbox, id) WHERE s.mailbox = u.mailbox AND s.remote_id = u.id "
        "AND s.kind IN ('surplus', 'stray')",
        &names.mailboxes, &names.ids);
}

std::vector<const Outcome*> take_copies(const std::vector<const Outcome*>& outcomes) {
    if (!any_copies()) {
        return outcomes;
    }
    const Pairs names(outcomes);
    const pg::Rows rows = pg::query(
        "WITH copies AS (DELETE FROM crmsync.sighting s "
        "USING unnest($1::integer[], $2::text[]) WITH ORDINALITY AS u(mailbox, id, place) "
        "WHERE s.mailbox = u.mailbox AND s.remote_id = u.id AND s.kind IN ('surplus', 'stray') "
        "RETURNING u.place, s.mailbox, s.remote_id, s.record, "
        "s.kind = 'surplus' AND NOT s.confirmed AS counts), "
        // One that has become its record's item meanwhile has gone, or lost the stamp, too.
        "stripped AS (" +
            std::string(outcomes.front()->result == Result::removed
                            ? "DELETE FROM crmsync.item i USING copies c "
                            : "UPDATE crmsync.item i SET stamped = false FROM copies c ") +
            "JOIN crmsync.mailbox m ON m.id = c.mailbox WHERE i.link = m.link "
            "AND i.record = c.record AND i.mailbox = c.mailbox AND i.remote_id = c.remote_id "
            "AND i.state <> 'unlinked' RETURNING i.link, i.record), "
            "again AS (" +
            become_pending("stripped") +
            "), "
            "counted AS (" +
            count_deletes("(SELECT m.link, c.mailbox FROM copies c "
                          "JOIN crmsync.mailbox m ON m.id = c.mailbox WHERE c.counts) AS u") +
            ") SELECT place FROM copies",
        &names.mailboxes, &names.ids);
    std::set<const Outcome*> taken;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        taken.insert(outcomes[static_cast<std::size_t>(rows.integer(row, 0)) - 1]);
    }
    std::vector<const Outcome*> others;
    std::copy_if(outcomes.begin(), outcomes.end(), std::back_inserter(others),
                 [&](const Outcome* outcome) { return !taken.contains(outcome); });
    return others;
}

}  // namespace crmsync
