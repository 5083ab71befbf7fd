#include "server/crm/row_writer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "server/crm/apply_function.h"
#include "server/crm/child_writer.h"
#include "server/crm/divided_writing.h"
#include "server/crm/held_values.h"
#include "server/postgres/divided_reading.h"
#include "server/postgres/subtransaction.h"

namespace crmsync {

namespace {

using Columns = std::vector<std::size_t>;  // places in the layout
using RowChanges = std::vector<const RowChange*>;

// Those of the row itself.
Columns columns_of(const LinkConfiguration& link, const RowChange& change) {
    Columns columns;
    for (const record::Field& field : change.fields) {
        const std::size_t place = record::place_of(link.rules.layout, field.property).value();
        if (!link.fields_in[place].child) {
            columns.push_back(place);
        }
    }
    std::sort(columns.begin(), columns.end());
    return columns;
}

std::string update_statement(const LinkConfiguration& link, const Columns& columns, bool restores) {
    std::string assignments;
    std::string arrays = "$1::text[]";
    std::string names = "key";
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const InboundField& field = link.fields_in[columns[i]];
        assignments += (i == 0 ? "" : ", ") + field.column + " = " +
                       (restores ? field.restoring : field.expression);
        arrays += ", $" + std::to_string(i + 2) + "::text[]";
        names += ", v" + std::to_string(columns[i] + 1);
    }
    return "UPDATE " + link.source + " AS t SET " + assignments + " FROM unnest(" + arrays +
           ") AS v(" + names + ") WHERE t." + link.key + " = v.key::" + link.key_type +
           " RETURNING t." + link.key + "::text";
}

void update(const LinkConfiguration& link, const Columns& columns, bool restores,
            const RowChanges& changes) {
    pg::TextArray keys;
    std::vector<pg::NullableTextArray> values(columns.size());
    for (const RowChange* change : changes) {
        keys.push_back(change->record);
        for (std::size_t i = 0; i < columns.size(); ++i) {
            const auto field = std::find_if(
                change->fields.begin(), change->fields.end(),
                [&](const auto& one) { return one.property == link.rules.layout[columns[i]]; });
            values[i].push_back(crm_value(link, columns[i], field->value, change->content));
        }
    }
    std::vector<pg::Parameter> parameters{&keys};
    for (const pg::NullableTextArray& array : values) {
        parameters.emplace_back(&array);
    }
    const pg::Rows rows =
        pg::query(update_statement(link, columns, restores), parameters, {.owner = link.owner});
    std::set<std::string> written;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        written.insert(rows.string(row, 0));
    }
    if (written.size() < changes.size()) {
        throw pg::Error{.sqlstate = ERRCODE_TRIGGERED_ACTION_EXCEPTION,
                        .message = "the row was not updated: a trigger or a rule of " +
                                   link.source + " prevented it"};
    }
}

void update(const LinkConfiguration& link, const RowChanges& changes) {
    take_children(link, changes);
    std::map<std::pair<Columns, bool>, RowChanges> groups;
    for (const RowChange* change : changes) {
        groups[{columns_of(link, *change), change->restores}].push_back(change);
    }
    for (const auto& [kind, alike] : groups) {
        const auto& [columns, restores] = kind;
        if (!columns.empty()) {
            update(link, columns, restores, alike);
        }
    }
    write_children(link, changes);
}

void write(const LinkConfiguration& link, const RowChanges& changes) {
    if (link.apply.empty()) {
        update(link, changes);
    } else {
        for (const RowChange* change : changes) {
            apply_update(link, *change);
        }
    }
}

// By nobody, or not by the link's owner.
bool cannot_be_locked(const pg::Error& error) {
    return error.sqlstate == ERRCODE_FEATURE_NOT_SUPPORTED ||
           error.sqlstate == ERRCODE_WRONG_OBJECT_TYPE ||
           error.sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE;
}

}  // namespace

std::vector<std::string> lock_rows(const LinkConfiguration& link, const pg::TextArray& records) {
    if (!link.rows_can_be_locked) {
        return records;
    }
    // Who adds a child row keeps the record's key from changing: he, too, is to be waited for. What
    // a view joins others may refer to at any time.
    const bool wholly = !link.children.empty() && !link.is_view;
    const std::string query = "SELECT t." + link.key + "::text FROM " + link.source +
                              " AS t WHERE t." + link.key + " = ANY ($1::text[]::" + link.key_type +
                              "[]) FOR " + (wholly ? "UPDATE" : "NO KEY UPDATE") + " SKIP LOCKED";
    std::vector<std::string> locked;
    const auto lock = [&](const pg::TextArray& keys) {
        const pg::Rows rows = pg::query_as(link.owner, query, &keys);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            locked.push_back(rows.string(row, 0));
        }
    };
    // What a stamp names need not be a key of the source as it is now: no row has it.
    const auto lock_all = [&] {
        read_divided(records, lock, [](const std::string&, const pg::Error&) {});
    };
    if (!link.is_view) {
        lock_all();
        return locked;
    }
    // With those of a view go the rows that they are made of, unless it says that several are one.
    const auto error = pg::subtransaction(lock_all);
    if (error && !cannot_be_locked(*error)) {
        throw pg::Error(*error);
    }
    return error ? records : locked;
}

std::map<std::string, pg::Error> write_rows(const LinkConfiguration& link,
                                            const std::vector<RowChange>& changes) {
    std::map<std::string, pg::Error> errors;
    if (!changes.empty() && !link.apply.empty()) {
        check_function(link);
    }
    const auto write_part = [&](std::size_t first, std::size_t count) {
        RowChanges part;
        for (std::size_t i = first; i < first + count; ++i) {
            part.push_back(&changes[i]);
        }
        write(link, part);
    };
    const auto refuse = [&](std::size_t row, const pg::Error& error) {
        errors.emplace(changes[row].record, error);
    };
    write_divided(link, {changes.size(), link.apply.empty(), write_part, refuse});
    return errors;
}

}  // namespace crmsync
