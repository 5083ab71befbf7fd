#include "authentication.hpp"

#include "identifier.hpp"

#include <nlohmann/json.hpp>

namespace stand_in {

Authentication::Authentication(const Options& options)
    : user_(options.user),
      client_id_(options.client_id),
      client_secret_(options.client_secret),
      token_seconds_(options.token_seconds) {
    set_password(options.password);
}

void Authentication::set_password(std::string password) {
    std::lock_guard lock(mutex_);
    basic_ = "Basic " + encode_base64(user_ + ":" + password);
}

void Authentication::set_token_seconds(double seconds) {
    std::lock_guard lock(mutex_);
    token_seconds_ = seconds;
}

std::optional<std::string> Authentication::account(const std::string& authorization) const {
    std::lock_guard lock(mutex_);
    if (authorization == basic_)
        return user_;
    if (!authorization.starts_with("Bearer "))
        return std::nullopt;
    auto token = tokens_.find(authorization.substr(7));
    if (token == tokens_.end() || token->second < Clock::now())
        return std::nullopt;
    return user_;
}

void Authentication::revoke_tokens() {
    std::lock_guard lock(mutex_);
    tokens_.clear();
}

void Authentication::issue(const httplib::Request& request, httplib::Response& response) {
    auto refuse = [&](int status, const char* error, const char* description) {
        response.status = status;
        nlohmann::json answer{{"error", error}, {"error_description", description}};
        response.set_content(answer.dump(), "application/json");
    };
    auto given = [&](const char* name) { return request.get_param_value(name); };
    if (given("grant_type") != "client_credentials")
        return refuse(400, "unsupported_grant_type", "Only client_credentials are served.");
    if (given("client_id") != client_id_ || given("client_secret") != client_secret_)
        return refuse(401, "invalid_client", "Invalid client secret provided.");
    if (given("scope").find("/.default") == std::string::npos)
        return refuse(400, "invalid_scope", "The scope ends in /.default.");
    std::string token = format_guid(random_guid()) + "." + format_guid(random_guid());
    std::lock_guard lock(mutex_);
    auto life = std::chrono::duration<double>(token_seconds_);
    tokens_[token] = Clock::now() + std::chrono::duration_cast<Clock::duration>(life);
    auto seconds = static_cast<long>(token_seconds_);
    nlohmann::json answer{{"token_type", "Bearer"},
                          {"expires_in", seconds},
                          {"ext_expires_in", seconds},
                          {"access_token", token}};
    response.status = 200;
    response.set_content(answer.dump(), "application/json");
}

}  // namespace stand_in
