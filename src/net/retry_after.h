// How long a server asks us to wait.
#pragma once

#include <chrono>
#include <ctime>
#include <optional>
#include <string>

namespace crmsync::net {

// Reads the value of a Retry-After header (RFC 9110, 10.2.3): a number of seconds, which some
// servers give with a fraction, or an HTTP date, taken relative to `now`. A date in the past is a
// pause of zero; anything else is nullopt. At most a day: a server cannot silence us for longer.
std::optional<std::chrono::milliseconds> parse_retry_after(const std::string& value,
                                                           std::time_t now);

}  // namespace crmsync::net
