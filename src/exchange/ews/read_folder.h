// From the response messages of an operation that concerns folders themselves to an Answer.
#pragma once

#include <pugixml.hpp>
#include <vector>

#include "exchange/operation.h"

namespace crmsync::exchange::ews {

// messages: as many as the operation asks questions, in their order.
Answer read_folder(const FindFolder& find, const std::vector<pugi::xml_node>& messages);
Answer read_folder(const LocateFolder& locate, const std::vector<pugi::xml_node>& messages);
Answer read_folder(const SearchDeleted& search, const std::vector<pugi::xml_node>& messages);
Answer read_folder(const CreateFolder& create, const std::vector<pugi::xml_node>& messages);
Answer read_folder(const DeleteFolder& remove, const std::vector<pugi::xml_node>& messages);

}  // namespace crmsync::exchange::ews
