#include "server/crm/child_order.h"

#include <algorithm>
#include <numeric>

#include "record/row_order.h"
#include "record/value.h"

namespace crmsync {

namespace {

using Alike = std::vector<std::size_t>;  // places in LinkConfiguration::children

// What the server makes of other properties says nothing about which row it is.
bool come_in(const LinkConfiguration& link, const Alike& alike) {
    return alike.size() > 1 && std::all_of(alike.begin(), alike.end(), [&](std::size_t child) {
               const std::vector<std::size_t>& places = link.children[child].places;
               return std::none_of(places.begin(), places.end(), [&](std::size_t place) {
                   return link.rules.layout[place]->access == record::Access::outbound;
               });
           });
}

// What the item has is not written over, and so cannot go to another place there.
bool fills_gaps(const LinkConfiguration& link, const Alike& alike) {
    return std::any_of(alike.begin(), alike.end(), [&](std::size_t child) {
        const std::vector<std::size_t>& places = link.children[child].places;
        return std::any_of(places.begin(), places.end(), [&](std::size_t place) {
            return link.rules.fields[place].write == record::Write::if_empty;
        });
    });
}

std::vector<record::RowValues> rows_of(const LinkConfiguration& link, const Alike& alike,
                                       const record::Values& values) {
    std::vector<record::RowValues> rows;
    for (const std::size_t child : alike) {
        record::RowValues& row = rows.emplace_back();
        for (const std::size_t place : link.children[child].places) {
            row.push_back(values[place]);
        }
    }
    return rows;
}

void put(const LinkConfiguration& link, const Alike& alike,
         const std::vector<record::RowValues>& rows, const std::vector<std::size_t>& order,
         record::Values& values) {
    for (std::size_t i = 0; i < alike.size(); ++i) {
        const std::vector<std::size_t>& places = link.children[alike[i]].places;
        for (std::size_t column = 0; column < places.size(); ++column) {
            values[places[column]] = rows[order[i]][column];
        }
    }
}

}  // namespace

InOneOrder in_one_order(const LinkConfiguration& link, const record::Values& shadow,
                        const record::Values& crm, const record::Values& held) {
    InOneOrder result{crm, held, std::vector<std::size_t>(link.children.size()), true};
    std::iota(result.child_rows.begin(), result.child_rows.end(), std::size_t{0});
    for (const Alike& alike : link.alike) {
        if (!come_in(link, alike)) {
            continue;
        }
        const auto agreed = rows_of(link, alike, shadow);
        const auto of_crm = rows_of(link, alike, crm);
        const auto order = record::row_order(agreed, agreed, of_crm);
        put(link, alike, of_crm, order, result.crm);
        for (std::size_t i = 0; i < alike.size(); ++i) {
            result.child_rows[alike[i]] = alike[order[i]];
        }
        const auto of_item = rows_of(link, alike, held);
        put(link, alike, of_item,
            record::row_order(
                agreed, rows_of(link, alike, result.crm), of_item,
                fills_gaps(link, alike) ? record::NewRows::stay : record::NewRows::make_room),
            result.held);
    }
    result.same = result.crm == crm && result.held == held;
    return result;
}

void keep_positions(const LinkConfiguration& link, const record::Values& held,
                    record::Values& shadow) {
    for (const Alike& alike : link.alike) {
        if (come_in(link, alike)) {
            const auto rows = rows_of(link, alike, held);
            std::vector<std::size_t> as_they_are(alike.size());
            std::iota(as_they_are.begin(), as_they_are.end(), std::size_t{0});
            put(link, alike, rows, as_they_are, shadow);
        }
    }
}

std::optional<std::size_t> place_by_now(const LinkConfiguration& link, std::size_t place,
                                        const record::Value& value, const record::Values& crm) {
    const auto& child = link.fields_in[place].child;
    const record::Property& property = *link.rules.layout[place];
    if (!child) {
        return record::same_value(property, crm[place], value) ? std::optional(place)
                                                               : std::nullopt;
    }
    const auto alike =
        std::find_if(link.alike.begin(), link.alike.end(), [&](const Alike& children) {
            return std::find(children.begin(), children.end(), *child) != children.end();
        });
    const std::vector<std::size_t>& places = link.children[*child].places;
    const auto column =
        static_cast<std::size_t>(std::find(places.begin(), places.end(), place) - places.begin());
    const auto rows = rows_of(link, *alike, crm);
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (!record::same_value(property, rows[i][column], value)) {
            continue;
        }
        if (found && rows[i] != rows[*found]) {
            return std::nullopt;
        }
        if (!found || (*alike)[i] == *child) {
            found = i;
        }
    }
    return found ? std::optional(link.children[(*alike)[*found]].places[column]) : std::nullopt;
}

}  // namespace crmsync
