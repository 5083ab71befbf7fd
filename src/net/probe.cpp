#include "net/probe.h"

#include <curl/curl.h>

#include <ctime>

#include "net/easy_options.h"
#include "net/probe_attempt.h"
#include "net/url.h"

namespace crmsync::net {

namespace {

// Renewing a certificate takes people some time.
constexpr std::time_t soon = 21 * 24 * 60 * 60;

std::string host_and_port(const Url& url) {
    return "\"" + printable(url.host) + "\", port " + std::to_string(url.port);
}

ProbeStep failed(const std::string& step, const ProbeAttempt& attempt, const std::string& hint) {
    return {step, false, attempt.error->message, hint, attempt.total};
}

ProbeStep dns(const Endpoint& endpoint, const Url& url, const ProbeAttempt& attempt) {
    if (attempt.error && attempt.phase == Phase::resolving)
        return failed(
            "dns", attempt,
            "Check the host name, and the name server of the machine PostgreSQL runs on.");
    std::string detail =
        (endpoint.proxy.empty() ? "\"" + printable(url.host) + "\"" : "the proxy") +
        std::string(" was found");
    if (!attempt.address.empty())
        detail += " at " + attempt.address;
    return {"dns", true, detail, "", attempt.resolved};
}

ProbeStep tcp(const Endpoint& endpoint, const Url& url, const ProbeAttempt& attempt) {
    if (attempt.error && attempt.phase == Phase::connecting)
        return failed(
            "tcp", attempt,
            "Check the port, and whether a firewall or a proxy stands between the machine "
            "PostgreSQL runs on and the server.");
    return {"tcp", true,
            "connected to " + (endpoint.proxy.empty() ? host_and_port(url) : "the proxy"), "",
            attempt.connected - attempt.resolved};
}

std::string describe(const Certificate& certificate) {
    return "subject " + certificate.subject + ", issuer " + certificate.issuer + ", names " +
           (certificate.names.empty() ? "none" : certificate.names) + ", expires " +
           certificate.expires;
}

std::string tls_hint(const Certificate& certificate) {
    const std::time_t expires = curl_getdate(certificate.expires.c_str(), nullptr);
    if (expires != -1 && expires < std::time(nullptr))
        return "The certificate has expired: it must be renewed on the server.";
    return "Use one of the certificate's names in the URL; for a certificate of your own "
           "authority, "
           "name the authority's file in the option ca_file.";
}

ProbeStep refused_tls(const Endpoint& endpoint, const ProbeAttempt& attempt,
                      const std::function<bool()>& should_stop) {
    ProbeStep step = failed("tls", attempt, "Check whether the server speaks TLS on this port.");
    if (attempt.error->kind == TransportErrorKind::configuration)
        step.hint = "Check the options ca_file, cert_file and key_file.";
    if (attempt.error->kind != TransportErrorKind::tls)
        return step;
    if (auto seen = attempt_probe(endpoint, false, should_stop).certificate) {
        step.detail += "; the certificate: " + describe(*seen);
        step.hint = tls_hint(*seen);
    }
    return step;
}

ProbeStep tls(const Endpoint& endpoint, const ProbeAttempt& attempt) {
    ProbeStep step{"tls", true,
                   endpoint.tls_verify ? "verified" : "not verified (tls_verify is false)", "",
                   attempt.secured - attempt.connected};
    if (!endpoint.tls_verify)
        step.hint =
            "Verify the server's certificate: set tls_verify to true, and ca_file if needed.";
    if (!attempt.certificate)
        return step;
    step.detail += ": " + describe(*attempt.certificate);
    const std::time_t expires = curl_getdate(attempt.certificate->expires.c_str(), nullptr);
    if (expires != -1 && expires - std::time(nullptr) < soon)
        step.hint = "The certificate expires soon.";
    return step;
}

std::string http_hint(const ProbeAttempt& attempt) {
    if (attempt.status >= 300 && attempt.status < 400)
        return "Redirects are not followed: use the service's own address, such as "
               "https://HOST/EWS/Exchange.asmx.";
    if (attempt.status == 404)
        return "Check the path of the URL, for Exchange /EWS/Exchange.asmx.";
    if (attempt.status == 407)
        return "The proxy wants credentials.";
    if (attempt.status >= 500)
        return "The server, or a proxy in front of it, is in trouble: look there.";
    return "";
}

ProbeStep http(const ProbeAttempt& attempt) {
    if (attempt.error)
        return failed("http", attempt, "Check whether an HTTP server listens on this port.");
    ProbeStep step{"http", true, "HTTP status " + std::to_string(attempt.status),
                   http_hint(attempt),
                   attempt.total - std::max(attempt.connected, attempt.secured)};
    step.ok = step.hint.empty();
    if (!attempt.location.empty())
        step.detail += " to " + attempt.location;
    for (std::size_t i = 0; i < attempt.challenges.size(); ++i)
        step.detail += (i == 0 ? ", offers " : ", ") + attempt.challenges[i];
    return step;
}

}  // namespace

std::vector<ProbeStep> probe(const Endpoint& endpoint, const std::function<bool()>& should_stop) {
    if (auto error = check_endpoint(endpoint))
        return {{"url", false, error->message, "", {}}};
    const Url url = parse_url(endpoint.url);
    const ProbeAttempt attempt = attempt_probe(endpoint, true, should_stop);
    std::vector<ProbeStep> steps;
    steps.push_back(dns(endpoint, url, attempt));
    if (steps.back().ok)
        steps.push_back(tcp(endpoint, url, attempt));
    if (steps.back().ok && url.scheme == "https")
        steps.push_back(attempt.error && attempt.phase == Phase::securing
                            ? refused_tls(endpoint, attempt, should_stop)
                            : tls(endpoint, attempt));
    if (steps.back().ok)
        steps.push_back(http(attempt));
    return steps;
}

}  // namespace crmsync::net
