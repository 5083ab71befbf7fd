// The URLs of a target, taken apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace crmsync::directory {

struct Endpoint {
    std::string scheme;
    std::string host;  // for ldapi the path of the socket
    std::uint16_t port = 0;

    std::string url() const;
};

// Of URLs that are separated by spaces. Throws Error (configuration) for an unknown scheme or a
// malformed URL.
std::vector<Endpoint> parse_urls(const std::string& urls);

}  // namespace crmsync::directory
