// What an endpoint means for libcurl's handles: the same for requests, token requests and probes.
#pragma once

#include <optional>

#include "net/client.h"
#include "net/curl.h"

namespace crmsync::net {

// The answer's speed below which it counts as stalled, in bytes a second.
constexpr long stall_speed = 100;

// Why requests to this endpoint can never work, before anything is tried: a URL that is none, http
// where it is refused, a method of authentication that this libcurl was built without.
std::optional<TransportError> check_endpoint(const Endpoint& endpoint);

// How to connect to `url`: TLS, proxy, timeouts, protocols. Throws as set_option does.
void set_connection_options(CURL* easy, const Endpoint& endpoint, const std::string& url);

// In whose name requests are made, save the token of oauth2. Throws as set_option does.
void set_authentication(CURL* easy, const Endpoint& endpoint);

}  // namespace crmsync::net
