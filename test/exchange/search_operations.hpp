// FindItem: views, restrictions, sort orders.
#pragma once

#include "operation.hpp"

namespace stand_in {

std::string find_item(Context& context, pugi::xml_node request);

}  // namespace stand_in
