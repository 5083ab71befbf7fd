// SyncFolderItems and SyncFolderHierarchy: what changed since a state.
#pragma once

#include "operation.hpp"

namespace stand_in {

std::string sync_folder_items(Context& context, pugi::xml_node request);
std::string sync_folder_hierarchy(Context& context, pugi::xml_node request);

}  // namespace stand_in
