#include "net/access_token.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>

#include "net/curl.h"

namespace crmsync::net {

namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr std::size_t longest_token = 32u << 10;
// When the server does not say (RFC 6749 only recommends that it does).
constexpr seconds default_lifetime{3600};
// A server that says less is not asked more often than this.
constexpr seconds shortest_lifetime{30};
// Between two requests for a new token while the old one serves.
constexpr seconds renewal_pause{30};
// A token this young that was refused at once is not at fault.
constexpr seconds young{60};

std::string escaped(const std::string& text) {
    std::unique_ptr<char, Release<curl_free>> form(
        curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())));
    if (!form)
        throw std::bad_alloc();
    return form.get();
}

void black_out(std::string& text, const std::string& secret) {
    if (secret.empty())
        return;
    for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at))
        text.replace(at, secret.size(), "***");
}

std::string text_member(const json& object, const char* name) {
    auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>() : "";
}

// Some servers write the number as a string.
seconds lifetime(const json& answer) {
    auto member = answer.find("expires_in");
    if (member == answer.end())
        return default_lifetime;
    double number = 0;
    if (member->is_number())
        number = member->get<double>();
    else if (member->is_string()) {
        const std::string text = member->get<std::string>();
        std::from_chars(text.data(), text.data() + text.size(), number);
    }
    // Also for "nan", which compares false.
    if (!(number > static_cast<double>(shortest_lifetime.count())))
        return shortest_lifetime;
    return seconds(static_cast<std::int64_t>(std::min(number, 86'400.0)));
}

bool is_token(const std::string& text) {
    return !text.empty() && text.size() <= longest_token &&
           std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string described(const Endpoint& endpoint, const json& answer) {
    std::string text = text_member(answer, "error");
    if (std::string description = text_member(answer, "error_description"); !description.empty())
        text += (text.empty() ? "" : ": ") + description;
    // Before it is cut to length: half a secret is a secret.
    black_out(text, endpoint.secret);
    black_out(text, escaped(endpoint.secret));
    return printable(text);
}

TransportError refusal(const Endpoint& endpoint, const Response& response, const json& answer) {
    const bool passing =
        response.status == 408 || response.status == 429 || response.status >= 500 ||
        (answer.is_object() && text_member(answer, "error") == "temporarily_unavailable");
    const bool refused = response.status >= 400 && !passing;
    std::string text = refused ? "the token server refused the client" : "no access token";
    text += " (HTTP status " + std::to_string(response.status) + ")";
    if (answer.is_object())
        if (std::string description = described(endpoint, answer); !description.empty())
            text += ": " + description;
    return {refused ? TransportErrorKind::credentials : TransportErrorKind::broken, text};
}

}  // namespace

Request make_token_request(const Endpoint& endpoint) {
    Request request;
    request.headers = {"Content-Type: application/x-www-form-urlencoded",
                       "Accept: application/json"};
    request.body = "grant_type=client_credentials&client_id=" + escaped(endpoint.client_id) +
                   "&client_secret=" + escaped(endpoint.secret);
    if (!endpoint.scope.empty())
        request.body += "&scope=" + escaped(endpoint.scope);
    request.answer_limit = 256u << 10;
    request.repeatable = true;
    return request;
}

std::variant<TokenGrant, TransportError> read_token_answer(const Endpoint& endpoint,
                                                           const Response& response) {
    if (response.error)
        return TransportError{response.error->kind, "no access token: " + response.error->message};
    const json answer = json::parse(response.body, nullptr, false);
    if (response.status != 200)
        return refusal(endpoint, response, answer);
    if (!answer.is_object())
        return TransportError{TransportErrorKind::broken,
                              "the token server's answer is not a JSON object"};
    TokenGrant grant{text_member(answer, "access_token"), lifetime(answer)};
    if (!is_token(grant.token))
        return TransportError{TransportErrorKind::broken,
                              "the token server's answer holds no usable access_token"};
    return grant;
}

void AccessToken::store(TokenGrant grant, Clock::time_point now) {
    token_ = std::move(grant.token);
    granted_ = now;
    // Early enough that a request which waits long at the server still carries a valid token.
    expires_ = now + grant.lifetime;
    renew_ = expires_ - std::min<Clock::duration>(grant.lifetime / 5, seconds(300));
    ++generation_;
    confirmed_ = false;
}

void AccessToken::put_off(Clock::time_point now,
                          std::optional<std::chrono::milliseconds> retry_after) noexcept {
    renew_ = now + std::max<std::chrono::milliseconds>(renewal_pause,
                                                       retry_after.value_or(renewal_pause));
}

void AccessToken::confirm(int generation) noexcept {
    if (generation == generation_)
        confirmed_ = true;
}

bool AccessToken::refused(int generation, Clock::time_point now) noexcept {
    if (generation != generation_)
        return true;
    if (!confirmed_ && now - granted_ < young)
        return false;
    token_.clear();
    return true;
}

}  // namespace crmsync::net
