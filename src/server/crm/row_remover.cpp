#include "server/crm/row_remover.h"

#include "server/crm/apply_function.h"
#include "server/crm/divided_writing.h"
#include "server/crm/source_keys.h"

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

}  // namespace

Errors delete_rows(const LinkConfiguration& link, const std::vector<RowToDelete>& rows) {
    Errors errors;
    if (rows.empty()) {
        return errors;
    }
    const bool by_function = !link.apply.empty();
    if (by_function) {
        check_function(link);
    }
    pg::TextArray records;
    for (const RowToDelete& row : rows) {
        records.push_back(row.record);
    }
    const auto write = [&](std::size_t first, std::size_t count) {
        if (by_function) {
            apply_delete(link, rows[first]);
        } else {
            const auto begin = records.begin() + static_cast<std::ptrdiff_t>(first);
            remove(link, {begin, begin + static_cast<std::ptrdiff_t>(count)});
        }
    };
    const auto refuse = [&](std::size_t row, const pg::Error& error) {
        errors.emplace(records[row], error);
    };
    write_divided(link, {rows.size(), !by_function, write, refuse});
    if (by_function) {
        return errors;
    }
    // What is still there although nothing failed.
    for (const std::string& record : keys_in_source(link, records)) {
        if (!errors.contains(record)) {
            not_deleted(link, record, errors);
        }
    }
    return errors;
}

}  // namespace crmsync
