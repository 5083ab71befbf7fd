#include "server/crm/new_rows.h"

#include <set>
#include <utility>

#include "server/configuration/record_key.h"
#include "server/crm/apply_function.h"
#include "server/crm/child_writer.h"
#include "server/crm/divided_writing.h"
#include "server/crm/held_values.h"
#include "server/crm/source_keys.h"

namespace crmsync {

namespace {

// One INSERT for all rows with values in the same places, so that columns without one get their
// defaults.
struct Insert {
    std::string columns;
    std::string expressions;
    std::string names = "mailbox";
    std::string parameters = "$1::text";
    pg::NullableTextArray values;

    void add(const std::string& column, const std::string& expression) {
        columns += (columns.empty() ? "" : ", ") + column;
        expressions += (expressions.empty() ? "" : ", ") + expression;
    }
    std::string statement(const LinkConfiguration& link) const {
        if (columns.empty()) {
            return "INSERT INTO " + link.source + " AS t DEFAULT VALUES RETURNING t." + link.key +
                   "::text";
        }
        return "INSERT INTO " + link.source + " AS t (" + columns + ") SELECT " + expressions +
               " FROM (VALUES (" + parameters + ")) AS v(" + names + ") RETURNING t." + link.key +
               "::text";
    }
};

Insert insert_of(const LinkConfiguration& link, const NewRow& row) {
    Insert insert;
    insert.values.emplace_back(row.mailbox);
    for (std::size_t place = 0; place < link.fields_in.size(); ++place) {
        const InboundField& field = link.fields_in[place];
        record::Value value = field.column.empty() || field.child
                                  ? record::Value()
                                  : crm_value(link, place, row.values[place], row.content);
        if (!value) {
            continue;
        }
        insert.values.push_back(std::move(value));
        insert.names += ", v" + std::to_string(place + 1);
        insert.parameters += ", $" + std::to_string(insert.values.size()) + "::text";
        insert.add(field.column, field.expression);
    }
    for (const NewRowColumn& column : link.new_row_columns) {
        insert.add(column.column, column.expression);
    }
    return insert;
}

// What its child rows get.
record::Fields children_of(const LinkConfiguration& link, const NewRow& row) {
    record::Fields fields;
    for (std::size_t place = 0; place < link.fields_in.size(); ++place) {
        if (link.fields_in[place].child && !link.fields_in[place].column.empty() &&
            row.values[place]) {
            fields.push_back({link.rules.layout[place], row.values[place]});
        }
    }
    return fields;
}

// The same record twice: it has one row of each kind.
void check_distinct(const pg::TextArray& keys) {
    std::set<std::string> seen;
    for (const std::string& key : keys) {
        if (!seen.insert(key).second) {
            throw pg::Error{.sqlstate = ERRCODE_UNIQUE_VIOLATION,
                            .message = "two new rows would be record " + key};
        }
    }
}

void make_children(const LinkConfiguration& link, const NewRow* rows, const pg::TextArray& keys) {
    std::vector<RowChange> changes;
    std::vector<const RowChange*> all;
    changes.reserve(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
        changes.push_back({keys[i], children_of(link, rows[i]), {}, {}, {}, rows[i].content});
        all.push_back(&changes.back());
    }
    write_children(link, all);
}

std::string insert_row(const LinkConfiguration& link, const NewRow& row) {
    const Insert insert = insert_of(link, row);
    std::vector<pg::Parameter> parameters;
    for (const std::optional<std::string>& value : insert.values) {
        if (!insert.columns.empty()) {
            parameters.emplace_back(std::string_view(*value));
        }
    }
    const pg::Rows made = pg::query(insert.statement(link), parameters, {.owner = link.owner});
    if (made.empty() || made.is_null(0, 0)) {
        throw pg::Error{.sqlstate = ERRCODE_TRIGGERED_ACTION_EXCEPTION,
                        .message = "the row was not inserted: a trigger or a rule of " +
                                   link.source + " prevented it"};
    }
    return made.string(0, 0);
}

std::string make_row(const LinkConfiguration& link, const NewRow& row) {
    if (row.is_empty) {
        throw pg::Error{.sqlstate = ERRCODE_NOT_NULL_VIOLATION,
                        .message = "the item holds nothing that is mapped"};
    }
    std::string key = link.apply.empty() ? insert_row(link, row) : apply_insert(link, row);
    if (key.size() > longest_key) {
        throw pg::Error{.sqlstate = ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
                        .message = "the key of the new row would have " +
                                   std::to_string(key.size()) + " bytes, and a key may have " +
                                   std::to_string(longest_key)};
    }
    return key;
}

// What the source does not show would be taken for deleted, and the item with it.
void check_source(const LinkConfiguration& link, const pg::TextArray& keys) {
    const std::set<std::string> there = keys_in_source(link, keys);
    for (const std::string& key : keys) {
        if (!there.contains(key)) {
            throw pg::Error{.sqlstate = ERRCODE_WITH_CHECK_OPTION_VIOLATION,
                            .message = "the new row would not be in " + link.source};
        }
    }
}

void check_audience(const LinkConfiguration& link, const NewRow* rows, const pg::TextArray& keys) {
    const pg::Rows audience = pg::query_as(link.owner, link.audience_query, &keys);
    std::set<std::pair<std::string, std::string>> named;
    for (std::uint64_t row = 0; row < audience.size(); ++row) {
        named.emplace(audience.string(row, 0), audience.string(row, 1));
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (!named.contains({keys[i], rows[i].mailbox})) {
            throw pg::Error{
                .sqlstate = ERRCODE_WITH_CHECK_OPTION_VIOLATION,
                .message = "the audience of the new row would not name mailbox " + rows[i].mailbox};
        }
    }
}

// Which record has got an item in which mailbox.
using Taken = std::set<std::pair<std::string, std::string>>;

// A function that finds the record there is already, or a key that is used again, can lead to one
// that has an item in the mailbox. Where that is away, or was left to its user, the new one takes
// its place.
void check_vacant(const LinkConfiguration& link, const NewRow* rows, const pg::TextArray& keys,
                  Taken taken) {
    pg::TextViewArray mailboxes;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        mailboxes.emplace_back(rows[i].mailbox);
    }
    const pg::Rows occupied = pg::query(
        "SELECT i.record, m.address FROM unnest($2::text[], $3::text[]) AS u(record, address) "
        "JOIN crmsync.mailbox m ON m.link = $1 AND m.address = u.address JOIN crmsync.item i "
        "ON i.link = $1 AND i.record = u.record AND i.mailbox = m.id "
        "WHERE i.state NOT IN ('absent', 'gone', 'removed', 'unlinked')",
        link.id, &keys, &mailboxes);
    for (std::uint64_t row = 0; row < occupied.size(); ++row) {
        taken.emplace(occupied.string(row, 0), occupied.string(row, 1));
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (!taken.emplace(keys[i], rows[i].mailbox).second) {
            throw pg::Error{.sqlstate = ERRCODE_UNIQUE_VIOLATION,
                            .message = "it would be record " + keys[i] +
                                       ", which has another item in mailbox " + rows[i].mailbox};
        }
    }
}

pg::TextArray make(const LinkConfiguration& link, const NewRow* rows, std::size_t count,
                   const Taken& taken) {
    pg::TextArray keys;
    for (std::size_t i = 0; i < count; ++i) {
        keys.push_back(make_row(link, rows[i]));
    }
    check_distinct(keys);
    make_children(link, rows, keys);
    if (link.apply.empty()) {
        check_source(link, keys);
    }
    if (!link.audience_query.empty()) {
        check_audience(link, rows, keys);
    }
    check_vacant(link, rows, keys, taken);
    return keys;
}

}  // namespace

std::vector<MadeRow> make_rows(const LinkConfiguration& link, const std::vector<NewRow>& rows) {
    std::vector<MadeRow> made(rows.size());
    if (!rows.empty() && !link.apply.empty()) {
        check_function(link);
    }
    Taken taken;
    pg::TextArray keys;  // of those made last
    const auto write = [&](std::size_t first, std::size_t count) {
        keys = make(link, &rows[first], count, taken);
    };
    const auto refuse = [&](std::size_t row, const pg::Error& error) { made[row].error = error; };
    const auto note = [&](std::size_t first, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            taken.emplace(keys[i], rows[first + i].mailbox);
            made[first + i].record = std::move(keys[i]);
        }
    };
    write_divided(link, {rows.size(), link.apply.empty(), write, refuse, note});
    return made;
}

}  // namespace crmsync
