// Request headers, checked and in libcurl's form.
#pragma once

#include <string>
#include <vector>

#include "net/curl.h"

namespace crmsync::net {

// Throws std::invalid_argument for a line that is not "Name: value" or holds a line break or
// another control character, and std::bad_alloc.
List make_header_list(const std::vector<std::string>& lines);

}  // namespace crmsync::net
