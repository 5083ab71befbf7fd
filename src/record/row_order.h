// Rows of which a record has several alike, such as its e-mail addresses, are known by what they
// hold: their places say nothing but in which order they are, and that differs between the sides.
// So before they are merged, the rows of each side are put where the same rows were when both
// sides last agreed.
#pragma once

#include <cstddef>
#include <vector>

#include "record/merge.h"

namespace crmsync::record {

// The values of one row; all absent: there is no such row.
using RowValues = std::vector<Value>;

// Whether a new row leaves its place to another one that the other side has there.
enum class NewRows { make_room, stay };

// For every place, which of the rows belongs there: each is named once. A row goes to the place
// where `agreed` holds the same, else to where `other`, the rows of the other side in order, does;
// what is new or changed stays in its place, or takes one that is free. All have as many rows.
std::vector<std::size_t> row_order(const std::vector<RowValues>& agreed,
                                   const std::vector<RowValues>& other,
                                   const std::vector<RowValues>& rows,
                                   NewRows new_rows = NewRows::make_room);

}  // namespace crmsync::record
