#include "directory/url.h"

#include <memory>
#include <sstream>

#include <ldap.h>

#include "directory/error.h"

namespace crmsync::directory {

namespace {

struct UrlDeleter {
    void operator()(LDAPURLDesc* url) const noexcept { ldap_free_urldesc(url); }
};

Endpoint parse_url(const std::string& text) {
    LDAPURLDesc* parsed = nullptr;
    const int code = ldap_url_parse(text.c_str(), &parsed);
    if (code != LDAP_URL_SUCCESS) {
        throw Error(ErrorKind::configuration, "\"" + text + "\" is not an LDAP URL",
                    "use ldap://host, ldaps://host or ldapi://socket");
    }
    const std::unique_ptr<LDAPURLDesc, UrlDeleter> url(parsed);
    Endpoint endpoint{url->lud_scheme, url->lud_host == nullptr ? "" : url->lud_host,
                      static_cast<std::uint16_t>(url->lud_port)};
    if (endpoint.host.empty()) {
        throw Error(ErrorKind::configuration, "the LDAP URL \"" + text + "\" names no host");
    }
    if (endpoint.port == 0) {
        endpoint.port = endpoint.scheme == "ldaps" ? LDAPS_PORT : LDAP_PORT;
    }
    return endpoint;
}

}  // namespace

std::string Endpoint::url() const {
    if (scheme == "ldapi") {
        return "ldapi://" + host;
    }
    const bool is_ipv6 = host.find(':') != std::string::npos;
    return scheme + "://" + (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::vector<Endpoint> parse_urls(const std::string& urls) {
    std::vector<Endpoint> endpoints;
    std::istringstream words(urls);
    for (std::string word; words >> word;) {
        endpoints.push_back(parse_url(word));
    }
    if (endpoints.empty()) {
        throw Error(ErrorKind::configuration, "the target has no LDAP URL");
    }
    return endpoints;
}

}  // namespace crmsync::directory
