#include "net/easy_options.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "net/url.h"

namespace crmsync::net {

namespace {

TransportError configuration_error(std::string message) {
    return {TransportErrorKind::configuration, std::move(message)};
}

std::optional<TransportError> check_url(const std::string& text, const Endpoint& endpoint) {
    try {
        const Url url = parse_url(text);
        if (url.scheme != "http" && url.scheme != "https")
            return configuration_error("only http and https are used here, not " + url.scheme);
        if (refuses_plaintext(url, endpoint.allow_plaintext))
            return configuration_error("plain http to \"" + printable(url.host) +
                                       "\" is refused: use https, or set allow_plaintext");
    } catch (const std::invalid_argument& error) {
        return configuration_error(error.what());
    }
    return std::nullopt;
}

bool has_feature(int bit) {
    return (curl_version_info(CURLVERSION_NOW)->features & bit) != 0;
}

std::string missing_feature(const char* name) {
    return std::string("libcurl ") + curl_version_info(CURLVERSION_NOW)->version +
           " on this machine was built without " + name + " authentication";
}

std::optional<TransportError> check_authentication(const Endpoint& endpoint) {
    switch (endpoint.auth) {
        case Auth::ntlm:
            if (!has_feature(CURL_VERSION_NTLM))
                return configuration_error(missing_feature("NTLM"));
            break;
        case Auth::negotiate:
            if (!has_feature(CURL_VERSION_SPNEGO))
                return configuration_error(missing_feature("Negotiate"));
            break;
        case Auth::oauth2:
            if (endpoint.token_url.empty() || endpoint.client_id.empty() || endpoint.secret.empty())
                return configuration_error("oauth2 needs token_url, client_id and a secret");
            return check_url(endpoint.token_url, endpoint);
        case Auth::basic:
        case Auth::none:
            break;
    }
    return std::nullopt;
}

// The GSSAPI library finds the keytab only through the environment, which belongs to the whole
// process: so there is one keytab a process.
std::optional<TransportError> use_keytab(const std::string& keytab) {
    if (keytab.empty())
        return std::nullopt;
    constexpr const char* variable = "KRB5_CLIENT_KTNAME";
    const std::string wanted = "FILE:" + keytab;
    const char* in_use = std::getenv(variable);
    if (!in_use || !*in_use)
        setenv(variable, wanted.c_str(), 1);
    else if (in_use != wanted && in_use != keytab)
        return configuration_error("another keytab is in use in this process already");
    return std::nullopt;
}

void set_tls(CURL* easy, const Endpoint& endpoint) {
    set_option(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set_option(easy, CURLOPT_SSL_VERIFYPEER, endpoint.tls_verify ? 1L : 0L);
    set_option(easy, CURLOPT_SSL_VERIFYHOST, endpoint.tls_verify ? 2L : 0L);
    if (!endpoint.ca_file.empty()) {
        set_option(easy, CURLOPT_CAINFO, endpoint.ca_file.c_str());
        // A file named by the administrator takes the place of the system's authorities.
        set_option(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    }
    if (!endpoint.cert_file.empty())
        set_option(easy, CURLOPT_SSLCERT, endpoint.cert_file.c_str());
    if (!endpoint.key_file.empty())
        set_option(easy, CURLOPT_SSLKEY, endpoint.key_file.c_str());
}

void set_proxy(CURL* easy, const Endpoint& endpoint) {
    // Both are set even when empty, so that the environment's http_proxy and no_proxy stay unread.
    set_option(easy, CURLOPT_PROXY, endpoint.proxy.c_str());
    set_option(easy, CURLOPT_NOPROXY, "");
    set_option(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
}

// libcurl refuses times that do not fit 32 bits of milliseconds; a zero would mean "no limit".
long milliseconds(std::chrono::milliseconds time) {
    return static_cast<long>(std::clamp<std::int64_t>(time.count(), 1, 24 * 3600 * 1000));
}

}  // namespace

std::optional<TransportError> check_endpoint(const Endpoint& endpoint) {
    if (auto error = check_url(endpoint.url, endpoint))
        return error;
    if (auto error = check_authentication(endpoint))
        return error;
    if (endpoint.auth == Auth::negotiate)
        return use_keytab(endpoint.keytab);
    return std::nullopt;
}

void set_connection_options(CURL* easy, const Endpoint& endpoint, const std::string& url) {
    set_option(easy, CURLOPT_URL, url.c_str());
    set_option(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set_option(easy, CURLOPT_FOLLOWLOCATION, 0L);
    set_option(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set_option(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    set_option(easy, CURLOPT_USERAGENT, "crmsync");
    set_option(easy, CURLOPT_NOSIGNAL, 1L);
    // A request given up while its name is looked up does not wait for the name server.
    set_option(easy, CURLOPT_QUICK_EXIT, 1L);
    set_option(easy, CURLOPT_TIMEOUT_MS, milliseconds(endpoint.timeout));
    set_option(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(endpoint.connect_timeout));
    set_option(easy, CURLOPT_TCP_NODELAY, 1L);
    set_option(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    // Below what front ends and firewalls commonly keep an idle connection for.
    set_option(easy, CURLOPT_MAXAGE_CONN, 55L);
    set_tls(easy, endpoint);
    set_proxy(easy, endpoint);
}

void set_authentication(CURL* easy, const Endpoint& endpoint) {
    switch (endpoint.auth) {
        case Auth::none:
            return;
        case Auth::basic:
            set_option(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
            break;
        case Auth::ntlm:
            set_option(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_NTLM));
            break;
        case Auth::negotiate:
            // The user is whoever the keytab or the credential cache says.
            set_option(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_NEGOTIATE));
            set_option(easy, CURLOPT_USERPWD, ":");
            return;
        case Auth::oauth2:
            set_option(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
            return;
    }
    // Not USERPWD: a colon in the name would end it there.
    set_option(easy, CURLOPT_USERNAME, endpoint.username.c_str());
    set_option(easy, CURLOPT_PASSWORD, endpoint.secret.c_str());
}

}  // namespace crmsync::net
