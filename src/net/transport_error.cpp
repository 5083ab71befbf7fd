#include "net/transport_error.h"

#include <cstdio>

namespace crmsync::net {

namespace {

curl_off_t information(CURL* easy, CURLINFO which) {
    curl_off_t value = 0;
    curl_easy_getinfo(easy, which, &value);
    return value;
}

const char* doing(Phase phase) {
    switch (phase) {
        case Phase::resolving:
            return "resolving the host name";
        case Phase::connecting:
            return "connecting";
        case Phase::securing:
            return "negotiating TLS";
        case Phase::sending:
            return "sending the request";
        case Phase::waiting:
            return "waiting for the answer";
        case Phase::receiving:
            return "receiving the answer";
    }
    return "";
}

TransportErrorKind kind_of_timeout(Phase phase) {
    switch (phase) {
        case Phase::resolving:
            return TransportErrorKind::resolve;
        case Phase::connecting:
        case Phase::securing:
            return TransportErrorKind::connect;
        default:
            return TransportErrorKind::timeout;
    }
}

// A server that is restarting drops connections in the middle of the handshake. That passes, unlike
// a certificate that is not trusted; libcurl has one code for both.
TransportErrorKind kind_of_handshake(const std::string& detail) {
    for (const char* sign : {"reset by peer", "SSL_ERROR_SYSCALL", "unexpected eof"})
        if (detail.find(sign) != std::string::npos)
            return TransportErrorKind::connect;
    return TransportErrorKind::tls;
}

TransportErrorKind kind_of(CURLcode code, Phase phase, const std::string& detail) {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
            return TransportErrorKind::resolve;
        case CURLE_COULDNT_CONNECT:
        case CURLE_INTERFACE_FAILED:
        case CURLE_PROXY:
            return TransportErrorKind::connect;
        case CURLE_OPERATION_TIMEDOUT:
            return kind_of_timeout(phase);
        case CURLE_SSL_CONNECT_ERROR:
            return kind_of_handshake(detail);
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_INVALIDCERTSTATUS:
        case CURLE_SSL_CLIENTCERT:
        case CURLE_USE_SSL_FAILED:
            return TransportErrorKind::tls;
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CRL_BADFILE:
        case CURLE_SSL_ENGINE_NOTFOUND:
        case CURLE_SSL_ENGINE_SETFAILED:
        case CURLE_UNSUPPORTED_PROTOCOL:
            // Of the URL, or of what the server speaks.
            return phase < Phase::sending ? TransportErrorKind::configuration
                                          : TransportErrorKind::broken;
        case CURLE_URL_MALFORMAT:
        case CURLE_NOT_BUILT_IN:
        case CURLE_FUNCTION_NOT_FOUND:
        case CURLE_BAD_FUNCTION_ARGUMENT:
        case CURLE_UNKNOWN_OPTION:
            return TransportErrorKind::configuration;
        case CURLE_FILESIZE_EXCEEDED:
            return TransportErrorKind::too_large;
        case CURLE_LOGIN_DENIED:
        case CURLE_AUTH_ERROR:
            return TransportErrorKind::credentials;
        default:
            return TransportErrorKind::broken;
    }
}

std::string in_seconds(curl_off_t microseconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(microseconds) / 1e6);
    return text;
}

std::string timing(CURL* easy, Phase phase) {
    std::string text = "timed out after " + in_seconds(information(easy, CURLINFO_TOTAL_TIME_T)) +
                       " while " + doing(phase);
    if (phase == Phase::sending)
        text += " (" + std::to_string(information(easy, CURLINFO_SIZE_UPLOAD_T)) + " bytes sent)";
    if (phase == Phase::receiving)
        text +=
            " (" + std::to_string(information(easy, CURLINFO_SIZE_DOWNLOAD_T)) + " bytes received)";
    return text;
}

}  // namespace

Phase reached_phase(CURL* easy, const Progress& progress, std::size_t body_size) {
    if (progress.answered)
        return Phase::receiving;
    if (progress.started)
        return information(easy, CURLINFO_SIZE_UPLOAD_T) < static_cast<curl_off_t>(body_size)
                   ? Phase::sending
                   : Phase::waiting;
    // Some versions of libcurl tell the time of connecting only after TLS.
    if (progress.securing || information(easy, CURLINFO_CONNECT_TIME_T) > 0)
        return Phase::securing;
    return information(easy, CURLINFO_NAMELOOKUP_TIME_T) > 0 ? Phase::connecting : Phase::resolving;
}

TransportError transport_error(CURL* easy, CURLcode code, Phase phase, const std::string& detail) {
    if (code == CURLE_OPERATION_TIMEDOUT) {
        const bool stalled = detail.starts_with("Operation too slow");
        return {kind_of(code, phase, detail),
                timing(easy, phase) + (stalled ? ", too slowly" : "")};
    }
    std::string text = detail.empty() ? curl_easy_strerror(code) : detail;
    return {kind_of(code, phase, detail),
            std::string("failed while ") + doing(phase) + ": " + printable(text)};
}

}  // namespace crmsync::net
