// Operations on items by their id, and creating them.
#pragma once

#include "operation.hpp"

namespace stand_in {

std::string create_item(Context& context, pugi::xml_node request);
std::string update_item(Context& context, pugi::xml_node request);
std::string delete_item(Context& context, pugi::xml_node request);
std::string get_item(Context& context, pugi::xml_node request);
std::string move_item(Context& context, pugi::xml_node request);
std::string copy_item(Context& context, pugi::xml_node request);

}  // namespace stand_in
