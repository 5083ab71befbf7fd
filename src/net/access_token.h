// The OAuth2 access token of one endpoint: how to ask for it (client credentials, RFC 6749, 4.4),
// how to read what the token server says, and when a new one is due. No I/O.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>

#include "net/client.h"

namespace crmsync::net {

using Clock = std::chrono::steady_clock;

// The request that asks for a token. Its body holds the secret.
Request make_token_request(const Endpoint& endpoint);

struct TokenGrant {
    std::string token;
    std::chrono::seconds lifetime;
};

// Reads the token server's answer. A refusal (an HTTP status of 4xx) is an error of the kind
// credentials with the server's own description, in which the secret is blacked out; what may pass
// (no connection, 429, 5xx) keeps the kind it has; an answer that is none is of the kind broken.
std::variant<TokenGrant, TransportError> read_token_answer(const Endpoint& endpoint,
                                                           const Response& response);

class AccessToken {
  public:
    // Whether requests may start with it: a token is there and has not expired.
    bool is_usable(Clock::time_point now) const noexcept {
        return !token_.empty() && now < expires_;
    }
    // Whether a new one is to be asked for, be it that this one still serves.
    bool is_due(Clock::time_point now) const noexcept { return !is_usable(now) || now >= renew_; }
    const std::string& text() const noexcept { return token_; }

    // Counts the tokens, so that a request can tell whether the one it used is still the current
    // one.
    int generation() const noexcept { return generation_; }

    void store(TokenGrant grant, Clock::time_point now);

    // There was no new one to be had: while this one serves it is asked for again after a pause.
    void put_off(Clock::time_point now,
                 std::optional<std::chrono::milliseconds> retry_after) noexcept;

    // Some answer other than 401 has come for a request with this token.
    void confirm(int generation) noexcept;

    // A request with the token of this generation was answered by 401. True: that request may be
    // made again with the current token or a new one. False: the token is new and was never
    // accepted, so that another would not be either.
    bool refused(int generation, Clock::time_point now) noexcept;

  private:
    std::string token_;
    Clock::time_point granted_{};
    Clock::time_point renew_{};
    Clock::time_point expires_{};
    int generation_ = 0;
    bool confirmed_ = false;
};

}  // namespace crmsync::net
