// Who may ask: Basic with the service account, or a bearer token that we issued.
#pragma once

#include "options.hpp"

#include <httplib.h>

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace stand_in {

class Authentication {
  public:
    explicit Authentication(const Options& options);

    /// Name of the account behind an Authorization header; empty when it is refused.
    std::optional<std::string> account(const std::string& authorization) const;

    /// The token endpoint of client credentials: fills in the JSON answer.
    void issue(const httplib::Request& request, httplib::Response& response);

    /// From now on no token that was issued is accepted.
    void revoke_tokens();
    void set_password(std::string password);
    void set_token_seconds(double seconds);

  private:
    using Clock = std::chrono::steady_clock;

    std::string user_, client_id_, client_secret_;
    mutable std::mutex mutex_;
    std::string basic_;
    double token_seconds_;
    std::map<std::string, Clock::time_point> tokens_;
};

}  // namespace stand_in
