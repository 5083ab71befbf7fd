// Operations on folders.
#pragma once

#include "operation.hpp"

namespace stand_in {

std::string get_folder(Context& context, pugi::xml_node request);
std::string find_folder(Context& context, pugi::xml_node request);
std::string create_folder(Context& context, pugi::xml_node request);
std::string update_folder(Context& context, pugi::xml_node request);
std::string delete_folder(Context& context, pugi::xml_node request);
std::string empty_folder(Context& context, pugi::xml_node request);

/// Appends a folder element with what m:FolderShape asks for. Hold the mailbox's mutex.
void write_folder(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                  pugi::xml_node folder_shape);

}  // namespace stand_in
