// Parameters that are arrays of one length, as the rows of a relation.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace crmsync {

struct ArrayColumn {
    std::string_view name;
    std::string_view type;  // of an element
};

// For a FROM: "(SELECT unnest($1::integer[]) AS mailbox, ...) AS u", of the parameters from number
// `first` on. In a select list the arrays are read where they are; a FROM unnest(...) copies all of
// them into tuplestores first, which takes nearly half of the time of an insert of many rows.
std::string array_rows(std::initializer_list<ArrayColumn> columns, int first = 1);

}  // namespace crmsync
