#include "server/inbound/field_resolution.h"

#include <string>
#include <utility>
#include <vector>

#include "server/crm/child_order.h"
#include "server/crm/divided_writing.h"
#include "server/crm/row_writer.h"
#include "server/outbound/record_facts.h"
#include "server/postgres/error_text.h"
#include "server/postgres/transaction.h"
#include "server/state/history.h"

namespace crmsync {

namespace {

struct Choice {
    std::int64_t conflict;
    int mailbox;
    std::string record;
    std::string property;
    std::string choice;
    record::Value value;
    record::Value held;    // what the CRM had of it when that was settled last
    std::string relation;  // of the child row that it is of; empty: it is the record's own
};

std::vector<Choice> read_choices(const LinkConfiguration& link) {
    const pg::Rows rows = pg::query(
        "SELECT id, mailbox, record, property, choice, "
        "CASE choice WHEN 'crm' THEN crm_value ELSE target_value END, "
        "CASE winner WHEN 'crm' THEN crm_value ELSE target_value END, coalesce((SELECT "
        "m.child ->> 'relation' FROM crmsync.mapping_in_force(c.link) m "
        "WHERE m.property = c.property), '') FROM crmsync.conflict c "
        "WHERE link = $1 AND kind = 'field' AND choice IS DISTINCT FROM winner "
        "AND choice IS NOT NULL ORDER BY id",
        link.id);
    std::vector<Choice> choices;
    // The others are done to the items, see undo.h.
    const auto comes_in = [&](std::string_view name) {
        const auto place =
            record::place_of(link.rules.layout, record::find_property(name, link.rules.object));
        return place && !link.fields_in[*place].column.empty();
    };
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        if (!comes_in(rows.text(row, 3))) {
            continue;
        }
        choices.push_back({rows.integer(row, 0), static_cast<int>(rows.integer(row, 1)),
                           rows.string(row, 2), rows.string(row, 3), rows.string(row, 4),
                           rows.is_null(row, 5) ? record::Value() : rows.string(row, 5),
                           rows.is_null(row, 6) ? record::Value() : rows.string(row, 6),
                           rows.string(row, 7)});
    }
    return choices;
}

void settle(const Choice& choice, const std::string& problem) {
    if (problem.empty()) {
        pg::query("UPDATE crmsync.conflict SET winner = choice WHERE id = $1", choice.conflict);
    } else {
        pg::query("UPDATE crmsync.conflict SET choice = NULL, problem = $2 WHERE id = $1",
                  choice.conflict, std::string_view(problem));
    }
}

// What the record holds now.
struct Now {
    bool exists;
    record::Values values;  // parallel to the layout; empty: that cannot be read
    OwnTexts texts;
    std::string problem;
};

Now read_now(const Configuration& configuration, const LinkConfiguration& link,
             const std::string& record) {
    PendingRecords records;
    records.try_emplace(record);
    const Facts facts = read_facts(configuration, link, std::move(records), NewMailboxes::stored);
    const RecordFacts& known = facts.records.at(record);
    if (!known.problem.empty()) {
        return {true, {}, {}, known.problem};
    }
    return known.exists ? Now{true, known.desired->values, known.texts, {}}
                        : Now{false, {}, {}, "there is no such record any more"};
}

// Why the row that it was about cannot be written; empty: it can, and `place` is where it is now.
std::string find_place(const LinkConfiguration& link, const Choice& choice, const Now& now,
                       std::size_t& place) {
    if (choice.relation.empty()) {
        return {};
    }
    if (now.values.empty()) {
        return now.problem;
    }
    const auto found = place_by_now(link, place, choice.held, now.values);
    if (!found || link.fields_in[*found].column.empty()) {
        return "the row of " + choice.relation +
               " that it was about is not there any more, holds something else, or cannot be told "
               "from another";
    }
    place = *found;
    return {};
}

// False: somebody has a row for the moment.
bool write(const Configuration& configuration, const LinkConfiguration& link, const Choice& choice,
           std::vector<sync::Outcome>& history) {
    const record::Property* property = record::find_property(choice.property, link.rules.object);
    std::size_t place = record::place_of(link.rules.layout, property).value();
    if (record::travels_apart(*property) && choice.value) {
        settle(choice, "only a description of property \"" + choice.property + "\" is kept");
        return true;
    }
    Now now = read_now(configuration, link, choice.record);
    if (const std::string problem = find_place(link, choice, now, place); !problem.empty()) {
        settle(choice, problem);
        return true;
    }
    sync::Outcome done{};
    done.mailbox = choice.mailbox;
    done.result = sync::Result::fetched;
    done.action = sync::Action::fetch;
    done.record = choice.record;
    done.fields = {{link.rules.layout[place], choice.value}};
    RowChange change{};
    change.record = choice.record;
    change.fields = done.fields;
    change.mailbox =
        pg::query("SELECT address FROM crmsync.mailbox WHERE id = $1", choice.mailbox).string(0, 0);
    change.before = std::move(now.values);
    change.texts = std::move(now.texts);
    change.restores = choice.choice == "crm";
    done.before = {change.before.empty() ? record::Value() : change.before[place]};
    const auto errors = write_rows(link, {change});
    if (!errors.empty() && errors.begin()->second.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
        return false;
    }
    settle(choice, errors.empty() ? std::string() : error_text(errors.begin()->second));
    if (errors.empty()) {
        history.push_back(std::move(done));
    }
    return true;
}

}  // namespace

bool resolve_fields(const Configuration& configuration, const LinkConfiguration& link) {
    if (writes_rest(link)) {
        return false;
    }
    pg::Transaction transaction("resolving conflicts of link " + link.name,
                                pg::Transaction::read_committed);
    const std::vector<Choice> choices = read_choices(link);
    if (choices.empty()) {
        return false;
    }
    bool done = false;
    std::vector<sync::Outcome> history;
    for (const Choice& choice : choices) {
        pg::check_interrupts();
        if (writes_rest(link)) {
            break;
        }
        const pg::TextArray record{choice.record};
        // Whose row somebody has at the moment is written when he is done.
        if (!lock_rows(link, record).empty()) {
            done |= write(configuration, link, choice, history);
        } else if (const Now now = read_now(configuration, link, choice.record); !now.exists) {
            settle(choice, now.problem);
            done = true;
        }
    }
    write_history(history);
    transaction.commit();
    return done;
}

}  // namespace crmsync
