#include "directory/error.h"

namespace crmsync::directory {

bool concerns_server(ErrorKind kind) noexcept {
    switch (kind) {
        case ErrorKind::resolve:
        case ErrorKind::connect:
        case ErrorKind::tls:
        case ErrorKind::credentials:
        case ErrorKind::lost:
        case ErrorKind::timeout:
            return true;
        default:
            return false;
    }
}

const char* error_code(ErrorKind kind) noexcept {
    switch (kind) {
        case ErrorKind::configuration:
            return "CONFIGURATION";
        case ErrorKind::resolve:
            return "DNS";
        case ErrorKind::connect:
            return "CONNECT";
        case ErrorKind::tls:
            return "TLS";
        case ErrorKind::credentials:
            return "CREDENTIALS";
        case ErrorKind::denied:
            return "DENIED";
        case ErrorKind::not_found:
            return "NOT-FOUND";
        case ErrorKind::incomplete:
            return "INCOMPLETE";
        case ErrorKind::lost:
            return "LOST";
        case ErrorKind::timeout:
            return "TIMEOUT";
        case ErrorKind::stopped:
            return "STOPPED";
    }
    return "UNKNOWN";
}

}  // namespace crmsync::directory
