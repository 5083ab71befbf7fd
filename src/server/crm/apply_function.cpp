#include "server/crm/apply_function.h"

#include <algorithm>
#include <optional>

#include "server/crm/held_values.h"
#include "server/crm/source_keys.h"
#include "server/postgres/jsonb_fields.h"

namespace crmsync {

namespace {

struct Call {
    std::string_view action;
    std::optional<std::string> record;
    std::string mailbox;
    record::Values before;  // as the CRM says them, parallel to the layout; empty: there is none
    record::Values after;
    pg::TextArray changed;
};

// What the CRM has, in its own words.
record::Values crm_values(const LinkConfiguration& link, const record::Values& values,
                          const OwnTexts& texts) {
    record::Values result;
    for (std::size_t place = 0; place < values.size(); ++place) {
        const auto text = texts.find(place);
        result.push_back(text != texts.end() ? record::Value(text->second)
                                             : crm_value(link, place, values[place]));
    }
    return result;
}

pg::Error wrong(const LinkConfiguration& link, int sqlstate, const std::string& what) {
    return {.sqlstate = sqlstate, .message = "function " + link.apply + " returned " + what};
}

std::string call(const LinkConfiguration& link, const Call& what) {
    pg::JsonbArray documents;
    for (const record::Values* values : {&what.before, &what.after}) {
        documents.documents.push_back(
            values->empty()
                ? std::nullopt
                : std::optional(document_of(link.rules.layout, *values, Absent::left_out)));
    }
    const pg::Parameter record =
        what.record ? pg::Parameter(std::string_view(*what.record)) : pg::Parameter();
    const pg::Rows rows =
        pg::query("SELECT " + link.apply +
                      "($1::text, $2::text, $3::text, $4::text, ($5::jsonb[])[1], "
                      "($5::jsonb[])[2], $6::text[])",
                  {{std::string_view(link.name), what.action, record,
                    std::string_view(what.mailbox), &documents, &what.changed}},
                  {.owner = link.owner});
    if (rows.empty() || rows.is_null(0, 0)) {
        throw wrong(link, ERRCODE_E_R_I_E_NULL_VALUE_NOT_ALLOWED, "nothing, not the record's key");
    }
    return rows.string(0, 0);
}

// Of a record that there is already.
void call_for_record(const LinkConfiguration& link, const Call& what) {
    const std::string key = call(link, what);
    if (key != *what.record) {
        throw wrong(link, ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
                    "\"" + key + "\" for record " + *what.record);
    }
}

}  // namespace

void check_function(const LinkConfiguration& link) {
    if (pg::query("SELECT crmsync.apply_function($1) IS NULL", std::string_view(link.apply))
            .boolean(0, 0)) {
        throw pg::Error{.sqlstate = ERRCODE_UNDEFINED_FUNCTION,
                        .message = "the function " + link.apply + " does not exist any more"};
    }
}

void apply_update(const LinkConfiguration& link, const RowChange& change) {
    if (change.before.size() != link.rules.layout.size()) {
        // Whoever wrote all of `new` would take away what is not in it.
        throw pg::Error{.sqlstate = ERRCODE_INTERNAL_ERROR,
                        .message = "what record " + change.record + " holds was not read"};
    }
    const record::Values before = crm_values(link, change.before, change.texts);
    Call update{"update", change.record, change.mailbox, before, before, {}};
    for (const record::Field& field : change.fields) {
        const std::size_t place = record::place_of(link.rules.layout, field.property).value();
        update.after[place] = crm_value(link, place, field.value, change.content);
        update.changed.emplace_back(field.property->name);
    }
    call_for_record(link, update);
}

std::string apply_insert(const LinkConfiguration& link, const NewRow& row) {
    Call insert{"insert", std::nullopt, row.mailbox, {}, record::Values(row.values.size()), {}};
    for (std::size_t place = 0; place < row.values.size(); ++place) {
        if (row.values[place] && !link.fields_in[place].column.empty()) {
            insert.after[place] = crm_value(link, place, row.values[place], row.content);
            insert.changed.emplace_back(link.rules.layout[place]->name);
        }
    }
    std::string key = call(link, insert);
    if (!keys_in_source(link, {key}).contains(key)) {
        throw wrong(link, ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
                    "\"" + key + "\", which is no record of " + link.source);
    }
    return key;
}

void apply_delete(const LinkConfiguration& link, const RowToDelete& row) {
    Call remove{"delete", row.record, row.mailbox, crm_values(link, row.values, row.texts), {}, {}};
    for (std::size_t place = 0; place < row.values.size(); ++place) {
        if (remove.before[place]) {
            remove.changed.emplace_back(link.rules.layout[place]->name);
        }
    }
    call_for_record(link, remove);
    if (!keys_in_source(link, {row.record}).empty()) {
        throw wrong(link, ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
                    "\"" + row.record + "\", and the record is still in " + link.source);
    }
}

}  // namespace crmsync
