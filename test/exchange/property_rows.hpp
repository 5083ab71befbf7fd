// The rows of each item class, in the order of the schema (types.xsd: ItemType, ContactItemType,
// CalendarItemType, TaskType). Data only; property_table.cpp makes tables of it.
#pragma once

#include "property_table.hpp"

#include <vector>

namespace stand_in {

std::vector<Row> item_rows();
std::vector<Row> contact_rows();
std::vector<Row> calendar_rows();
std::vector<Row> task_rows();

}  // namespace stand_in
