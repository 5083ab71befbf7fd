#include "server/crm/row_remover.h"

#include "server/crm/apply_function.h"
#include "server/crm/source_keys.h"
#include "server/postgres/subtransaction.h"

namespace crmsync {

namespace {

using Errors = std::map<std::string, pg::Error>;

const pg::Error& not_deleted(const LinkConfiguration& link, const std::string& record,
                             Errors& errors) {
    return errors
        .emplace(record, pg::Error{.sqlstate = ERRCODE_TRIGGERED_ACTION_EXCEPTION,
                                   .message = "the row was not deleted: a trigger or a rule of " +
                                              link.source + " prevented it"})
        .first->second;
}

void remove(const LinkConfiguration& link, const pg::TextArray& records) {
    const pg::Parameter parameters[] = {&records};
    pg::query("DELETE FROM " + link.source + " AS t WHERE t." + link.key +
                  " = ANY ($1::text[]::" + link.key_type + "[])",
              parameters, {.owner = link.owner});
}

// Halves them until those stand alone that the CRM refuses.
void remove_divided(const LinkConfiguration& link, const pg::TextArray& records, Errors& errors) {
    const auto error = pg::subtransaction([&] { remove(link, records); });
    if (!error) {
        return;
    }
    pg::check_interrupts();
    if (records.size() == 1) {
        errors.emplace(records.front(), *error);
        return;
    }
    const auto middle = records.begin() + static_cast<std::ptrdiff_t>(records.size() / 2);
    remove_divided(link, {records.begin(), middle}, errors);
    remove_divided(link, {middle, records.end()}, errors);
}

// One call each: what a function has done for one record stays when it fails for another.
void remove_by_function(const LinkConfiguration& link, const std::vector<RowToDelete>& rows,
                        Errors& errors) {
    check_function(link);
    bool too_long = false;
    for (const RowToDelete& row : rows) {
        if (too_long) {
            errors.emplace(row.record, not_called(link));
            continue;
        }
        const auto error = pg::subtransaction([&] { apply_delete(link, row); });
        if (error) {
            pg::check_interrupts();
            too_long = took_too_long(*error);
            errors.emplace(row.record, *error);
        }
    }
}

}  // namespace

Errors delete_rows(const LinkConfiguration& link, const std::vector<RowToDelete>& rows) {
    Errors errors;
    if (rows.empty()) {
        return errors;
    }
    if (!link.apply.empty()) {
        remove_by_function(link, rows, errors);
        return errors;
    }
    pg::TextArray records;
    for (const RowToDelete& row : rows) {
        records.push_back(row.record);
    }
    remove_divided(link, records, errors);
    // What is still there although nothing failed.
    for (const std::string& record : keys_in_source(link, records)) {
        if (!errors.contains(record)) {
            not_deleted(link, record, errors);
        }
    }
    return errors;
}

}  // namespace crmsync
