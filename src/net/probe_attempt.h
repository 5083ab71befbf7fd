// One connection of a probe: a GET without credentials, or only the handshake, and what was seen.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "net/client.h"
#include "net/transport_error.h"

namespace crmsync::net {

struct Certificate {
    std::string subject;
    std::string issuer;
    std::string names;    // alternative names, as in "DNS:mail.example.com"
    std::string expires;  // as "Nov 24 12:00:00 2026 GMT"
};

struct ProbeAttempt {
    std::optional<TransportError> error;
    Phase phase = Phase::resolving;  // where the error happened
    std::string address;             // of the server, or of the proxy
    // Each counted from the start; zero: not reached.
    std::chrono::microseconds resolved{0}, connected{0}, secured{0}, total{0};
    std::optional<Certificate> certificate;
    int status = 0;
    std::string location;
    std::vector<std::string> challenges;  // methods of authentication that the server offers
};

// `verify`: false trusts every certificate, makes the TLS handshake and sends nothing. See probe()
// for what is thrown.
ProbeAttempt attempt_probe(const Endpoint& endpoint, bool verify,
                           const std::function<bool()>& should_stop);

}  // namespace crmsync::net
