#include "server/new_items.h"

#include <map>
#include <utility>

#include "server/error_text.h"
#include "server/held_values.h"
#include "server/item_match.h"
#include "server/jsonb_fields.h"
#include "server/new_rows.h"
#include "server/query.h"

namespace crmsync {

namespace {

using sync::Outcome;

// Those that are to come in, with what they hold.
struct Candidates {
    std::vector<const Outcome*> outcomes;
    std::vector<NewRow> rows;
    std::vector<std::vector<std::size_t>> unread;  // of each, see HeldValues
    std::vector<std::string> problems;             // likewise
};

std::map<int, std::string> addresses_of(const std::vector<const Outcome*>& fetched) {
    pg::IntegerArray mailboxes;
    for (const Outcome* outcome : fetched) {
        mailboxes.push_back(outcome->mailbox);
    }
    // Held to the end: they get items.
    const pg::Rows rows = pg::query(
        "SELECT id, address FROM crmsync.mailbox WHERE id = ANY ($1) FOR KEY SHARE", &mailboxes);
    std::map<int, std::string> addresses;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        addresses.emplace(static_cast<int>(rows.integer(row, 0)), rows.string(row, 1));
    }
    return addresses;
}

Candidates choose(const LinkConfiguration& link, const std::vector<const Outcome*>& fetched,
                  NewItems& items) {
    const auto addresses = addresses_of(fetched);
    Candidates candidates;
    for (const Outcome* outcome : fetched) {
        const auto address = addresses.find(outcome->mailbox);
        if (address == addresses.end() || outcome->held.is_other_kind ||
            (outcome->held.is_private && !link.brings_private) ||
            !sync::are_wanted(link.categories, outcome->held.categories)) {
            items.settled.push_back(name_of(*outcome));
            continue;
        }
        HeldValues held = held_values(link, outcome->held.values, outcome->held.unread);
        candidates.outcomes.push_back(outcome);
        candidates.problems.push_back(std::move(held.problem));
        candidates.unread.push_back(std::move(held.unread));
        candidates.rows.push_back({address->second, std::move(held.values), outcome->held.content});
    }
    return candidates;
}

// Leaves those that become rows of the CRM.
Candidates match(const LinkConfiguration& link, Candidates candidates, NewItems& items) {
    std::vector<ItemToMatch> to_match;
    for (std::size_t i = 0; i < candidates.rows.size(); ++i) {
        const Outcome& outcome = *candidates.outcomes[i];
        to_match.push_back({outcome.mailbox, candidates.rows[i].mailbox, outcome.item.id,
                            made_at(outcome), outcome.held.key, &candidates.rows[i].values});
    }
    std::vector<ItemMatch> matches = match_items(link, to_match);
    Candidates left;
    for (std::size_t i = 0; i < matches.size(); ++i) {
        const Outcome* outcome = candidates.outcomes[i];
        const bool is_new =
            !matches[i].waits && matches[i].problem.empty() && matches[i].record.empty();
        if (matches[i].left || (is_new && !link.inbound && candidates.problems[i].empty())) {
            items.settled.push_back(name_of(*outcome));
        } else if (matches[i].waits) {
            items.waiting.push_back({name_of(*outcome), matches[i].records, made_at(*outcome)});
        } else if (!candidates.problems[i].empty()) {
            // Whose it is it holds the place of.
            ArrivalFailure failure{name_of(*outcome), "value", std::move(candidates.problems[i])};
            failure.records = matches[i].record.empty() ? std::move(matches[i].records)
                                                        : pg::TextArray{matches[i].record};
            failure.created = made_at(*outcome);
            items.failures.push_back(std::move(failure));
        } else if (!matches[i].problem.empty()) {
            items.failures.push_back({name_of(*outcome), ambiguous_code, matches[i].problem,
                                      matches[i].records, made_at(*outcome)});
        } else if (!matches[i].record.empty()) {
            items.adopted.emplace_back(matches[i].record, outcome);
        } else {
            left.outcomes.push_back(outcome);
            left.rows.push_back(std::move(candidates.rows[i]));
            left.unread.push_back(std::move(candidates.unread[i]));
        }
    }
    return left;
}

// Of what does not come in nothing is agreed: where the CRM has no value the user's stays. What
// only fills gaps leaves what is there.
record::Values shadow_of(const LinkConfiguration& link, const record::Values& held,
                         const std::vector<std::size_t>& unread) {
    record::Values shadow = held;
    record::take_as_agreed(unread, link.rules.fields, held, shadow);
    for (std::size_t place = 0; place < shadow.size(); ++place) {
        if (link.fields_in[place].column.empty() &&
            link.rules.fields[place].write != record::Write::if_empty) {
            shadow[place].reset();
        }
    }
    return shadow;
}

Outcome came_in(const LinkConfiguration& link, const Outcome& fetched, const std::string& record,
                const record::Values& values) {
    Outcome done{};
    done.mailbox = fetched.mailbox;
    done.result = sync::Result::fetched;
    done.action = sync::Action::fetch;
    done.record = record;
    for (std::size_t place = 0; place < values.size(); ++place) {
        if (values[place] && !link.fields_in[place].column.empty()) {
            done.fields.push_back({link.rules.layout[place], values[place]});
        }
    }
    return done;
}

}  // namespace

NewItems bring_in_new(const LinkConfiguration& link,
                      const std::vector<const sync::Outcome*>& fetched) {
    NewItems items;
    if (fetched.empty()) {
        return items;
    }
    const Candidates candidates = match(link, choose(link, fetched, items), items);
    const std::vector<MadeRow> made = make_rows(link, candidates.rows);
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::TextArray change_keys;
    std::vector<record::Values> kept;  // what the documents point into
    kept.reserve(made.size());
    pg::JsonbArray shadows;
    for (std::size_t i = 0; i < made.size(); ++i) {
        const Outcome& outcome = *candidates.outcomes[i];
        if (made[i].error && made[i].error->sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
            items.postponed.push_back(name_of(outcome));
            continue;
        }
        if (made[i].error) {
            items.failures.push_back(
                {name_of(outcome), made[i].error->code(), error_text(*made[i].error)});
            continue;
        }
        const record::Values& values = candidates.rows[i].values;
        items.records.push_back(made[i].record);
        mailboxes.push_back(outcome.mailbox);
        ids.push_back(outcome.item.id);
        change_keys.push_back(outcome.held.item.change_key);
        kept.push_back(shadow_of(link, values, candidates.unread[i]));
        shadows.documents.push_back(document_of(link.rules.layout, kept.back(), Absent::left_out));
        items.settled.push_back(name_of(outcome));
        items.history.push_back(came_in(link, outcome, made[i].record, values));
    }
    if (!items.records.empty()) {
        pg::query(
            "INSERT INTO crmsync.item AS i "
            "(link, record, mailbox, remote_id, change_key, shadow, origin, stamped) "
            "SELECT $1, u.record, u.mailbox, u.id, u.change_key, u.shadow, 'mailbox', false "
            "FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[], $6::jsonb[]) "
            "AS u(record, mailbox, id, change_key, shadow) "
            "ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
            "change_key = excluded.change_key, shadow = excluded.shadow, origin = 'mailbox', "
            "stamped = false, state = 'linked', confirmed = false, doubtful = false, "
            "remade = i.remote_id IS NOT NULL, "
            "since = pg_catalog.now()",
            link.id, &items.records, &mailboxes, &ids, &change_keys, &shadows);
    }
    return items;
}

}  // namespace crmsync
