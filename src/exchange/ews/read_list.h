// From the response message of an operation that lists a folder to an Answer.
#pragma once

#include <pugixml.hpp>

#include "exchange/operation.h"

namespace crmsync::exchange::ews {

Answer read_list(const ListStamps& list, pugi::xml_node message);
Answer read_list(const FindStamps& find, pugi::xml_node message);
Answer read_list(const ListChanges& list, pugi::xml_node message);

}  // namespace crmsync::exchange::ews
