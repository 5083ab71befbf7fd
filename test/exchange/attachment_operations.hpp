// Operations on the files that are attached to items.
#pragma once

#include "operation.hpp"

namespace stand_in {

std::string create_attachment(Context& context, pugi::xml_node request);
std::string get_attachment(Context& context, pugi::xml_node request);
std::string delete_attachment(Context& context, pugi::xml_node request);

}  // namespace stand_in
