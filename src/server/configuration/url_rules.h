// Where targets may point: what the pure rules of net/url.h mean for this server's settings.
#pragma once

#include <string>

namespace crmsync {

// Throws pg::UserError when crmsync.allowed_hosts does not let a target point to the URL's host, or
// the URL is none.
void check_allowed_host(const std::string& url);

}  // namespace crmsync
