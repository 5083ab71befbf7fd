#include "server/inbound/new_items.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "server/crm/held_values.h"
#include "server/crm/new_rows.h"
#include "server/inbound/item_match.h"
#include "server/postgres/error_text.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

using sync::Outcome;

// One that is to come in, with what it holds.
struct Candidate {
    const Outcome* outcome;
    NewRow row;
    std::vector<std::size_t> unread;  // see HeldValues
    std::string problem;              // likewise
    std::string key;                  // see ItemMatch
};

using Candidates = std::vector<Candidate>;

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
        candidates.push_back(
            {.outcome = outcome,
             .row = {address->second, std::move(held.values), outcome->held.content, held.is_empty},
             .unread = std::move(held.unread),
             .problem = std::move(held.problem),
             .key = {}});
    }
    return candidates;
}

// Leaves those that become rows of the CRM.
Candidates match(const LinkConfiguration& link, Candidates candidates, NewItems& items) {
    std::vector<ItemToMatch> to_match;
    to_match.reserve(candidates.size());
    for (const Candidate& candidate : candidates) {
        const Outcome& outcome = *candidate.outcome;
        to_match.push_back({outcome.mailbox, candidate.row.mailbox, outcome.item.id,
                            made_at(outcome), outcome.held.key, &candidate.row.values});
    }
    std::vector<ItemMatch> matches = match_items(link, to_match);
    Candidates left;
    for (std::size_t i = 0; i < matches.size(); ++i) {
        Candidate& candidate = candidates[i];
        const Outcome* outcome = candidate.outcome;
        const bool is_new =
            !matches[i].waits && matches[i].problem.empty() && matches[i].record.empty();
        if (matches[i].left || (is_new && !link.inbound && candidate.problem.empty())) {
            items.settled.push_back(name_of(*outcome));
        } else if (matches[i].waits) {
            items.waiting.push_back({name_of(*outcome), matches[i].records, made_at(*outcome)});
        } else if (!candidate.problem.empty()) {
            // Whose it is it holds the place of.
            ArrivalFailure failure{name_of(*outcome), "VALUE", std::move(candidate.problem)};
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
            candidate.key = std::move(matches[i].key);
            left.push_back(std::move(candidate));
        }
    }
    return left;
}

// Leaves the first of those that are known by the same. Returns the others.
Candidates take_doubles(Candidates& candidates) {
    std::set<std::string> keys;
    const auto doubles = std::stable_partition(
        candidates.begin(), candidates.end(), [&](const Candidate& candidate) {
            return candidate.key.empty() || keys.insert(candidate.key).second;
        });
    Candidates taken(std::make_move_iterator(doubles), std::make_move_iterator(candidates.end()));
    candidates.erase(doubles, candidates.end());
    return taken;
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

using RecordsByKey = std::map<std::string, std::string>;  // by what their items are known by

// Returns what was made.
RecordsByKey make(const LinkConfiguration& link, Candidates candidates, NewItems& items) {
    std::vector<NewRow> rows;
    rows.reserve(candidates.size());
    for (Candidate& candidate : candidates) {
        rows.push_back(std::move(candidate.row));
    }
    const std::vector<MadeRow> made = make_rows(link, rows);
    RecordsByKey result;
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::TextArray change_keys;
    std::vector<record::Values> kept;  // what the documents point into
    kept.reserve(made.size());
    pg::JsonbArray shadows;
    for (std::size_t i = 0; i < made.size(); ++i) {
        const Outcome& outcome = *candidates[i].outcome;
        if (made[i].error && made[i].error->sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
            items.postponed.push_back(name_of(outcome));
            continue;
        }
        if (made[i].error) {
            items.failures.push_back(
                {name_of(outcome), made[i].error->code(), error_text(*made[i].error)});
            continue;
        }
        const record::Values& values = rows[i].values;
        result.emplace(candidates[i].key, made[i].record);
        records.push_back(made[i].record);
        mailboxes.push_back(outcome.mailbox);
        ids.push_back(outcome.item.id);
        change_keys.push_back(outcome.held.item.change_key);
        kept.push_back(shadow_of(link, values, candidates[i].unread));
        shadows.documents.push_back(document_of(link.rules.layout, kept.back(), Absent::left_out));
        items.settled.push_back(name_of(outcome));
        items.history.push_back(came_in(link, outcome, made[i].record, values));
    }
    if (!records.empty()) {
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
            link.id, &records, &mailboxes, &ids, &change_keys, &shadows);
    }
    std::move(records.begin(), records.end(), std::back_inserter(items.records));
    return result;
}

// Leaves those that are new still. What a row has been made of meanwhile that belongs in their
// mailbox is to be matched with it, and so looked at again.
Candidates still_new(const LinkConfiguration& link, Candidates doubles, const RecordsByKey& made,
                     NewItems& items) {
    pg::TextArray records;
    for (const Candidate& candidate : doubles) {
        if (const auto one = made.find(candidate.key); one != made.end()) {
            records.push_back(one->second);
        }
    }
    std::set<std::pair<std::string, std::string>> audience;
    if (!records.empty() && !link.audience_query.empty()) {
        const pg::Rows rows = pg::query_as(link.owner, link.audience_query, &records);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            audience.emplace(rows.string(row, 0), rows.string(row, 1));
        }
    }
    std::erase_if(doubles, [&](const Candidate& candidate) {
        const auto one = made.find(candidate.key);
        const bool matches =
            one != made.end() && (link.audience_query.empty() ||
                                  audience.contains({one->second, candidate.row.mailbox}));
        if (matches) {
            items.postponed.push_back(name_of(*candidate.outcome));
        }
        return matches;
    });
    return doubles;
}

}  // namespace

NewItems bring_in_new(const LinkConfiguration& link,
                      const std::vector<const sync::Outcome*>& fetched) {
    NewItems items;
    if (fetched.empty()) {
        return items;
    }
    Candidates candidates = match(link, choose(link, fetched, items), items);
    while (!candidates.empty()) {
        Candidates doubles = take_doubles(candidates);
        const RecordsByKey made = make(link, std::move(candidates), items);
        candidates = still_new(link, std::move(doubles), made, items);
    }
    return items;
}

}  // namespace crmsync
