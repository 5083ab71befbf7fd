#include "net/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>

#include "net/curl.h"

namespace crmsync::net {

namespace {

using Handle = std::unique_ptr<CURLU, Release<curl_url_cleanup>>;
using Text = std::unique_ptr<char, Release<curl_free>>;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return text;
}

std::string part(const Handle& url, CURLUPart which) {
    char* text = nullptr;
    CURLUcode code = curl_url_get(url.get(), which, &text, 0);
    Text owned(text);
    if (code == CURLUE_OUT_OF_MEMORY)
        throw std::bad_alloc();
    return code == CURLUE_OK && text ? text : "";
}

// One spelling of an address: "0:0::1" and "::1" are the same host.
std::string canonical_host(std::string host) {
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    if (!host.empty() && host.back() == '.')
        host.pop_back();
    in6_addr address;
    std::array<char, INET6_ADDRSTRLEN> text;
    if (inet_pton(AF_INET6, host.c_str(), &address) == 1 &&
        inet_ntop(AF_INET6, &address, text.data(), text.size()))
        return text.data();
    return lower(std::move(host));
}

int default_port(const std::string& scheme) {
    if (scheme == "http")
        return 80;
    if (scheme == "https")
        return 443;
    if (scheme == "ldap")
        return 389;
    return scheme == "ldaps" ? 636 : 0;
}

bool is_address(const std::string& host) {
    in_addr four;
    in6_addr six;
    return inet_pton(AF_INET, host.c_str(), &four) == 1 ||
           inet_pton(AF_INET6, host.c_str(), &six) == 1;
}

struct HostPattern {
    std::string host;  // empty: no host can match
    std::optional<int> port;
};

// The port is what follows the only colon, or the colon after a closing bracket.
HostPattern parse_pattern(const std::string& entry) {
    auto colon = entry.rfind(':');
    bool has_port = colon != std::string::npos &&
                    (entry.find(':') == colon || (colon > 0 && entry[colon - 1] == ']'));
    if (!has_port)
        return {canonical_host(entry), std::nullopt};
    int port = 0;
    const char* end = entry.data() + entry.size();
    auto [rest, error] = std::from_chars(entry.data() + colon + 1, end, port);
    if (error != std::errc() || rest != end)
        return {};
    return {canonical_host(entry.substr(0, colon)), port};
}

bool matches(const Url& url, const HostPattern& pattern) {
    if (pattern.host.empty() || (pattern.port && *pattern.port != url.port))
        return false;
    if (pattern.host.front() != '.')
        return url.host == pattern.host;
    return !is_address(url.host) && url.host.size() > pattern.host.size() &&
           url.host.ends_with(pattern.host);
}

}  // namespace

Url parse_url(const std::string& text) {
    Handle handle(curl_url());
    if (!handle)
        throw std::bad_alloc();
    CURLUcode code =
        text.find('\0') == std::string::npos
            ? curl_url_set(handle.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME)
            : CURLUE_MALFORMED_INPUT;
    if (code == CURLUE_OUT_OF_MEMORY)
        throw std::bad_alloc();
    if (code != CURLUE_OK)
        throw std::invalid_argument(std::string("not a valid URL: ") + curl_url_strerror(code));
    // The text itself is not repeated in any message: there may be a password in it.
    if (!part(handle, CURLUPART_USER).empty() || !part(handle, CURLUPART_PASSWORD).empty())
        throw std::invalid_argument("a URL must not contain a user name or password");
    Url url;
    url.scheme = lower(part(handle, CURLUPART_SCHEME));
    url.port = default_port(url.scheme);
    if (url.port == 0)
        throw std::invalid_argument("the URL scheme \"" + printable(url.scheme) +
                                    "\" is not one of http, https, ldap, ldaps");
    url.host = canonical_host(part(handle, CURLUPART_HOST));
    if (url.host.empty())
        throw std::invalid_argument("the URL names no host");
    if (std::string port = part(handle, CURLUPART_PORT); !port.empty())
        std::from_chars(port.data(), port.data() + port.size(), url.port);
    url.path = part(handle, CURLUPART_PATH);
    if (url.path.empty())
        url.path = "/";
    return url;
}

bool is_loopback(const std::string& host) {
    const std::string name = canonical_host(host);
    in_addr four;
    if (inet_pton(AF_INET, name.c_str(), &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return name == "::1" || name == "localhost";
}

bool is_plaintext(const Url& url) {
    return url.scheme == "http" || url.scheme == "ldap";
}

bool refuses_plaintext(const Url& url, bool allow_plaintext) {
    return is_plaintext(url) && !allow_plaintext && !is_loopback(url.host);
}

bool is_allowed_host(const Url& url, std::string_view allowed) {
    constexpr std::string_view separators = ", \t\r\n";
    bool empty = true;
    for (std::size_t at = allowed.find_first_not_of(separators); at != std::string_view::npos;) {
        const std::size_t end = std::min(allowed.find_first_of(separators, at), allowed.size());
        empty = false;
        if (matches(url, parse_pattern(std::string(allowed.substr(at, end - at)))))
            return true;
        at = allowed.find_first_not_of(separators, end);
    }
    return empty;
}

}  // namespace crmsync::net
