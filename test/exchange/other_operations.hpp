// Operations beside items and folders that clients need at start.
#pragma once

#include "operation.hpp"

namespace stand_in {

std::string resolve_names(Context& context, pugi::xml_node request);
std::string convert_id(Context& context, pugi::xml_node request);
std::string get_server_time_zones(Context& context, pugi::xml_node request);

}  // namespace stand_in
