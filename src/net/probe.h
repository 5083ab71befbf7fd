// Looks step by step whether a target can be reached, for an administrator who waits for the
// answer: DNS, TCP, TLS with the server's certificate, and what the server says to a request
// without any credentials. Nothing secret is sent.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "net/client.h"

namespace crmsync::net {

struct ProbeStep {
    std::string step;  // url, dns, tcp, tls or http
    bool ok = false;
    std::string detail;  // what was found
    std::string hint;    // what to do about it; empty when there is nothing to do
    std::chrono::microseconds duration{0};
};

// Returns the steps in order; the first that fails is the last. Takes at most the endpoint's
// connect_timeout for the connection and as long again for the answer, and ends at once when
// `should_stop`, which is called at least every 100 ms, returns true. Throws std::bad_alloc,
// std::runtime_error when libcurl cannot be set up, and what `should_stop` throws.
std::vector<ProbeStep> probe(const Endpoint& endpoint, const std::function<bool()>& should_stop);

}  // namespace crmsync::net
