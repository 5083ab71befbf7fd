#include "server/crm/child_writer.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "record/value.h"
#include "server/configuration/desired_record.h"
#include "server/crm/held_values.h"

namespace crmsync {

namespace {

// One child row to write. All values are parallel to the mapped columns of its child.
struct RowToWrite {
    const RowChange* change;
    std::size_t child;                                 // whose fields it gets
    std::size_t row;                                   // which row it is
    std::vector<std::optional<record::Value>> values;  // those that change
    std::optional<std::vector<std::string>> key;       // its primary key; none: it is not there

    bool changes(std::size_t column) const { return values[column].has_value(); }
};

// Rows that one statement writes: of the same child, with values for the same columns.
struct Kind {
    std::size_t row;
    std::size_t child;
    bool restores;
    std::vector<std::size_t> columns;

    const std::string& expression_of(const InboundField& field) const {
        return restores ? field.restoring : field.expression;
    }

    auto operator<=>(const Kind&) const = default;
};

using Group = std::vector<const RowToWrite*>;
using Groups = std::map<Kind, Group>;

std::vector<RowToWrite> rows_of(const LinkConfiguration& link,
                                const std::vector<const RowChange*>& changes) {
    std::vector<RowToWrite> rows;
    for (const RowChange* change : changes) {
        std::map<std::size_t, std::size_t> by_child;
        for (const record::Field& field : change->fields) {
            const std::size_t place = record::place_of(link.rules.layout, field.property).value();
            const auto& child = link.fields_in[place].child;
            if (!child) {
                continue;
            }
            const std::vector<std::size_t>& places = link.children[*child].places;
            const auto [at, is_new] = by_child.try_emplace(*child, rows.size());
            if (is_new) {
                const std::size_t row =
                    change->child_rows.empty() ? *child : change->child_rows[*child];
                rows.push_back({change, *child, row, {}, {}});
                rows.back().values.resize(places.size());
            }
            const auto column = std::find(places.begin(), places.end(), place) - places.begin();
            rows[at->second].values[static_cast<std::size_t>(column)] =
                written_value(*field.property, field.value, change->content);
        }
    }
    return rows;
}

class ChildWriter {
  public:
    ChildWriter(const LinkConfiguration& link, std::vector<RowToWrite> rows)
        : link_(link), rows_(std::move(rows)) {}

    // Which rows are there is asked once more when it is time to write: what is written first may
    // have changed that by the CRM's own triggers.
    void take() {
        for_each_row(" FOR UPDATE OF c NOWAIT",
                     [this](const RowToWrite& row, const pg::Rows* found, std::uint64_t at) {
                         check_unchanged(row, found, at);
                     });
    }

    void write() {
        for_each_row("", [this](RowToWrite& row, const pg::Rows* found, std::uint64_t at) {
            sort(row, found, at);
        });
        // What is to be unique may move from one to the other.
        run(deletes_, &ChildWriter::delete_statement, "deleted");
        run(updates_, &ChildWriter::update_statement, "updated");
        run(inserts_, &ChildWriter::insert_statement, "inserted");
    }

  private:
    using Statement = std::string (ChildWriter::*)(const Kind&) const;

    template <class Use>
    void for_each_row(const char* locking, const Use& use);
    template <class Use>
    void find(const ChildRow& child, const std::vector<RowToWrite*>& rows, const char* locking,
              const Use& use);
    void check_unchanged(const RowToWrite& row, const pg::Rows* found, std::uint64_t at) const;
    void sort(RowToWrite& row, const pg::Rows* found, std::uint64_t at);
    bool makes_its_values(std::size_t place) const;
    std::string delete_statement(const Kind& kind) const;
    std::string update_statement(const Kind& kind) const;
    std::string insert_statement(const Kind& kind) const;
    void run(const Groups& groups, Statement statement, const char* done) const;

    const LinkConfiguration& link_;
    std::vector<RowToWrite> rows_;
    Groups deletes_;
    Groups updates_;
    Groups inserts_;
};

template <class Use>
void ChildWriter::for_each_row(const char* locking, const Use& use) {
    std::map<std::size_t, std::vector<RowToWrite*>> by_row;
    for (RowToWrite& row : rows_) {
        by_row[row.row].push_back(&row);
    }
    for (const auto& [row, all] : by_row) {
        find(link_.children[row], all, locking, use);
    }
}

// Which of the rows are there, and what they hold.
template <class Use>
void ChildWriter::find(const ChildRow& child, const std::vector<RowToWrite*>& rows,
                       const char* locking, const Use& use) {
    pg::TextArray records;
    std::map<std::string, RowToWrite*> missing;
    for (RowToWrite* row : rows) {
        records.push_back(row->change->record);
        missing.emplace(row->change->record, row);
    }
    const pg::Rows found = pg::query_as(link_.owner, child.query + locking, &records);
    for (std::uint64_t at = 0; at < found.size(); ++at) {
        const auto row = missing.find(found.string(at, 0));
        if (row == missing.end()) {
            throw pg::Error{.sqlstate = ERRCODE_CARDINALITY_VIOLATION,
                            .message = "record " + found.string(at, 0) + " is there twice"};
        }
        use(*row->second, &found, at);
        missing.erase(row);
    }
    for (const auto& [record, row] : missing) {
        use(*row, nullptr, 0);
    }
}

// It was read before it was taken.
void ChildWriter::check_unchanged(const RowToWrite& row, const pg::Rows* found,
                                  std::uint64_t at) const {
    const std::vector<std::size_t>& places = link_.children[row.child].places;
    if (row.change->before.empty()) {
        return;
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
        const int column = static_cast<int>(1 + i);
        const record::Property& property = *link_.rules.layout[places[i]];
        const record::Value held =
            found == nullptr || found->is_null(at, column)
                ? record::Value()
                : property_value(link_, places[i], found->text(at, column)).value;
        if (!record::travels_apart(property) &&
            !record::same_value(property, held, row.change->before[places[i]])) {
            throw pg::Error{.sqlstate = ERRCODE_LOCK_NOT_AVAILABLE,
                            .message = "a row of " + link_.children[row.row].relation +
                                       " has changed meanwhile"};
        }
    }
}

// Nothing comes into such a column, and no row is kept for what it has.
bool ChildWriter::makes_its_values(std::size_t place) const {
    return link_.fields_in[place].column.empty() &&
           link_.rules.layout[place]->access != record::Access::outbound;
}

// What is to be done with it.
void ChildWriter::sort(RowToWrite& row, const pg::Rows* found, std::uint64_t at) {
    bool anything_left = false;
    std::vector<std::size_t> changed;
    const ChildRow& child = link_.children[row.child];
    if (found != nullptr) {
        row.key.emplace();
        for (std::size_t i = 0; i < child.primary_key.size(); ++i) {
            row.key->push_back(found->string(at, static_cast<int>(1 + child.places.size() + i)));
        }
    }
    for (std::size_t column = 0; column < row.values.size(); ++column) {
        const record::Property& property = *link_.rules.layout[child.places[column]];
        if (row.changes(column)) {
            anything_left |= !record::same_value(property, *row.values[column], {});
            if (found != nullptr || *row.values[column]) {
                changed.push_back(column);
            }
            row.values[column] = crm_value(link_, child.places[column], *row.values[column]);
        } else if (found != nullptr && !makes_its_values(child.places[column]) &&
                   !found->is_null(at, static_cast<int>(1 + column))) {
            const record::Canonical held = property_value(
                link_, child.places[column], found->text(at, static_cast<int>(1 + column)));
            anything_left |= !held.ok() || !record::same_value(property, held.value, {});
        }
    }
    const bool restores = row.change->restores;
    if (found != nullptr) {
        anything_left ? updates_[{row.row, row.child, restores, changed}].push_back(&row)
                      : deletes_[{row.row, row.child, restores, {}}].push_back(&row);
    } else if (anything_left) {
        inserts_[{row.row, row.child, restores, changed}].push_back(&row);
    }
}

// The parameters are the record's keys, the columns of the primary key, and the values.
struct Parameters {
    std::string arrays = "$1::text[]";
    std::string names = "key";

    void add(const std::string& name) {
        ++count;
        arrays += ", $" + std::to_string(count) + "::text[]";
        names += ", " + name;
    }
    std::string rows() const { return "unnest(" + arrays + ") AS v(" + names + ")"; }

    int count = 1;
};

std::string condition_on_key(const ChildRow& child, Parameters& parameters) {
    std::string condition =
        "t." + child.column + " = v.key::" + child.column_type;  // it is still this record's
    for (std::size_t i = 0; i < child.primary_key.size(); ++i) {
        const auto& [column, type] = child.primary_key[i];
        const std::string name = "k" + std::to_string(i + 1);
        parameters.add(name);
        condition += " AND t." + column + " = v." + name + "::" + type;
    }
    return condition;
}

std::string ChildWriter::delete_statement(const Kind& kind) const {
    const ChildRow& child = link_.children[kind.row];
    Parameters parameters;
    const std::string condition = condition_on_key(child, parameters);
    return "DELETE FROM " + child.relation + " AS t USING " + parameters.rows() + " WHERE " +
           condition;
}

std::string ChildWriter::update_statement(const Kind& kind) const {
    const ChildRow& child = link_.children[kind.row];
    Parameters parameters;
    const std::string condition = condition_on_key(child, parameters);
    std::string assignments;
    for (const std::size_t column : kind.columns) {
        const std::size_t place = link_.children[kind.child].places[column];
        const InboundField& field = link_.fields_in[place];
        parameters.add("v" + std::to_string(place + 1));
        assignments +=
            (assignments.empty() ? "" : ", ") + field.column + " = " + kind.expression_of(field);
    }
    return "UPDATE " + child.relation + " AS t SET " + assignments + " FROM " + parameters.rows() +
           " WHERE " + condition;
}

std::string ChildWriter::insert_statement(const Kind& kind) const {
    const ChildRow& child = link_.children[kind.row];
    Parameters parameters;
    std::string columns = child.column + child.fixed_columns;
    std::string expressions = "v.key::" + child.column_type + child.fixed_values;
    for (const std::size_t column : kind.columns) {
        const std::size_t place = link_.children[kind.child].places[column];
        const InboundField& field = link_.fields_in[place];
        parameters.add("v" + std::to_string(place + 1));
        columns += ", " + field.column;
        expressions += ", " + kind.expression_of(field);
    }
    return "INSERT INTO " + child.relation + " AS t (" + columns + ") SELECT " + expressions +
           " FROM " + parameters.rows();
}

// The rows of one statement as its parameters.
std::uint64_t run_statement(Oid owner, const std::string& statement,
                            const std::vector<std::size_t>& columns, const Group& group) {
    pg::TextArray records;
    std::vector<pg::NullableTextArray> arrays;
    const auto add = [&](const auto& value_of) {
        pg::NullableTextArray& array = arrays.emplace_back();
        for (const RowToWrite* row : group) {
            array.push_back(value_of(*row));
        }
    };
    for (const RowToWrite* row : group) {
        records.push_back(row->change->record);
    }
    const std::size_t keys = group.front()->key ? group.front()->key->size() : 0;
    for (std::size_t i = 0; i < keys; ++i) {
        add([i](const RowToWrite& row) { return record::Value((*row.key)[i]); });
    }
    for (const std::size_t column : columns) {
        add([column](const RowToWrite& row) { return *row.values[column]; });
    }
    std::vector<pg::Parameter> parameters{&records};
    for (const pg::NullableTextArray& array : arrays) {
        parameters.emplace_back(&array);
    }
    return pg::query(statement, parameters, {.owner = owner}).size();
}

void ChildWriter::run(const Groups& groups, Statement statement, const char* done) const {
    for (const auto& [kind, group] : groups) {
        if (run_statement(link_.owner, (this->*statement)(kind), kind.columns, group) <
            group.size()) {
            throw pg::Error{.sqlstate = ERRCODE_TRIGGERED_ACTION_EXCEPTION,
                            .message = "a row of " + link_.children[kind.row].relation +
                                       " was not " + done + ": a trigger or a rule prevented it"};
        }
    }
}

using ChildRows = std::set<std::pair<std::string, std::string>>;  // record, row

ChildRows read_rows(const LinkConfiguration& link, const std::string& query,
                    const pg::TextArray& records) {
    const pg::Rows rows = pg::query_as(link.owner, query, &records);
    ChildRows found;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        found.emplace(rows.string(row, 0), rows.string(row, 1));
    }
    return found;
}

std::string query_of_all(const ChildRow& child) {
    std::string key;
    for (const auto& [column, type] : child.primary_key) {
        key += (key.empty() ? "t." : ", t.") + column;
    }
    return "SELECT t." + child.column + "::text, ROW(" + key + ")::text FROM " + child.relation +
           " AS t WHERE t." + child.column + " = ANY ($1::text[]::" + child.column_type + "[])";
}

}  // namespace

pg::TextArray lock_children(const LinkConfiguration& link, pg::TextArray records) {
    std::set<std::string> queries;
    for (const ChildRow& child : link.children) {
        queries.insert(query_of_all(child));
    }
    for (const std::string& query : queries) {
        if (records.empty()) {
            break;
        }
        const ChildRows locked = read_rows(link, query + " FOR UPDATE SKIP LOCKED", records);
        std::set<std::string> held;
        for (const auto& row : read_rows(link, query, records)) {
            if (!locked.contains(row)) {
                held.insert(row.first);
            }
        }
        std::erase_if(records, [&](const std::string& record) { return held.contains(record); });
    }
    return records;
}

void take_children(const LinkConfiguration& link, const std::vector<const RowChange*>& changes) {
    std::vector<RowToWrite> rows = rows_of(link, changes);
    if (!rows.empty()) {
        ChildWriter(link, std::move(rows)).take();
    }
}

void write_children(const LinkConfiguration& link, const std::vector<const RowChange*>& changes) {
    std::vector<RowToWrite> rows = rows_of(link, changes);
    if (!rows.empty()) {
        ChildWriter(link, std::move(rows)).write();
    }
}

}  // namespace crmsync
