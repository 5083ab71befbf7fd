#include "server/row_writer.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "server/held_values.h"
#include "server/subtransaction.h"

namespace crmsync {

namespace {

using Columns = std::vector<std::size_t>;  // places in the layout
using Group = std::vector<const RowChange*>;

Columns columns_of(const LinkConfiguration& link, const RowChange& change) {
    Columns columns;
    for (const record::Field& field : change.fields) {
        columns.push_back(record::place_of(link.rules.layout, field.property).value());
    }
    std::sort(columns.begin(), columns.end());
    return columns;
}

std::string update_statement(const LinkConfiguration& link, const Columns& columns) {
    std::string assignments;
    std::string arrays = "$1::text[]";
    std::string names = "key";
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const InboundField& field = link.fields_in[columns[i]];
        assignments += (i == 0 ? "" : ", ") + field.column + " = " + field.expression;
        arrays += ", $" + std::to_string(i + 2) + "::text[]";
        names += ", v" + std::to_string(columns[i] + 1);
    }
    return "UPDATE " + link.source + " AS t SET " + assignments + " FROM unnest(" + arrays +
           ") AS v(" + names + ") WHERE t." + link.key + " = v.key::" + link.key_type +
           " RETURNING t." + link.key + "::text";
}

void update(const LinkConfiguration& link, const Columns& columns, const Group& group,
            std::set<std::string>& written) {
    pg::TextArray keys;
    std::vector<pg::NullableTextArray> values(columns.size());
    for (const RowChange* change : group) {
        keys.push_back(change->record);
        for (std::size_t i = 0; i < columns.size(); ++i) {
            const auto field = std::find_if(
                change->fields.begin(), change->fields.end(),
                [&](const auto& one) { return one.property == link.rules.layout[columns[i]]; });
            values[i].push_back(crm_value(link, columns[i], field->value));
        }
    }
    std::vector<pg::Parameter> parameters{&keys};
    for (const pg::NullableTextArray& array : values) {
        parameters.emplace_back(&array);
    }
    const pg::Rows rows =
        pg::query(update_statement(link, columns), parameters, {.owner = link.owner});
    // Deferred constraints speak up now, while the rows that break them are known.
    pg::query("SET CONSTRAINTS ALL IMMEDIATE", {}, {.owner = link.owner, .once = true});
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        written.insert(rows.string(row, 0));
    }
}

// Halves a group until those stand alone that the CRM refuses.
void update_divided(const LinkConfiguration& link, const Columns& columns, const Group& group,
                    std::set<std::string>& written, std::map<std::string, pg::Error>& errors) {
    std::set<std::string> these;
    const auto error = pg::subtransaction([&] { update(link, columns, group, these); });
    if (!error) {
        written.merge(these);
        return;
    }
    pg::check_interrupts();
    if (group.size() == 1) {
        errors.emplace(group.front()->record, *error);
        return;
    }
    const auto middle = group.begin() + static_cast<std::ptrdiff_t>(group.size() / 2);
    update_divided(link, columns, {group.begin(), middle}, written, errors);
    update_divided(link, columns, {middle, group.end()}, written, errors);
}

}  // namespace

std::vector<std::string> lock_rows(const LinkConfiguration& link, const pg::TextArray& records) {
    if (!link.source_is_table) {
        return records;
    }
    const pg::Rows rows = pg::query_as(
        link.owner,
        "SELECT t." + link.key + "::text FROM " + link.source + " AS t WHERE t." + link.key +
            " = ANY ($1::text[]::" + link.key_type + "[]) FOR NO KEY UPDATE SKIP LOCKED",
        &records);
    std::vector<std::string> locked;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        locked.push_back(rows.string(row, 0));
    }
    return locked;
}

std::map<std::string, pg::Error> write_rows(const LinkConfiguration& link,
                                            const std::vector<RowChange>& changes) {
    std::map<Columns, Group> groups;
    for (const RowChange& change : changes) {
        groups[columns_of(link, change)].push_back(&change);
    }
    std::map<std::string, pg::Error> errors;
    std::set<std::string> written;
    for (const auto& [columns, group] : groups) {
        update_divided(link, columns, group, written, errors);
    }
    for (const RowChange& change : changes) {
        if (!written.contains(change.record) && !errors.contains(change.record)) {
            errors.emplace(change.record,
                           pg::Error{.sqlstate = ERRCODE_TRIGGERED_ACTION_EXCEPTION,
                                     .message = "the row was not updated: a trigger or a rule of " +
                                                link.source + " prevented it"});
        }
    }
    return errors;
}

}  // namespace crmsync
