// Why a directory could not be read. Every failure of a search is an Error, so a search that
// returns was complete: nothing may be concluded from what an incomplete one did not name.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace crmsync::directory {

enum class ErrorKind {
    configuration,  // what we were told cannot work: a malformed URL, a filter, an empty password
    resolve,        // the host name is not known
    connect,        // nobody answers at the address and port
    tls,            // no TLS, or a certificate that is not trusted
    credentials,    // the server refused the bind
    denied,         // bound, but not allowed to read
    not_found,      // the base or the group does not exist
    incomplete,     // the server stopped before the end: a limit, busy, a referral
    lost,           // the connection broke in the middle
    timeout,        // no answer in time
    stopped         // the caller asked to stop
};

class Error : public std::runtime_error {
  public:
    // message and hint are shown to administrators; code is the LDAP result code (RFC 4511), or 0.
    Error(ErrorKind kind, const std::string& message, std::string hint = {}, int code = 0)
        : std::runtime_error(message), kind_(kind), hint_(std::move(hint)), code_(code) {}

    ErrorKind kind() const noexcept { return kind_; }
    const std::string& hint() const noexcept { return hint_; }
    int code() const noexcept { return code_; }

  private:
    ErrorKind kind_;
    std::string hint_;
    int code_;
};

// Whether it is the server, or how we log on, that fails: then no other search will do better. The
// other kinds may be due to what one search asks for.
bool concerns_server(ErrorKind kind) noexcept;

// The kind in one word, as it stands in target_state.code.
const char* error_code(ErrorKind kind) noexcept;

}  // namespace crmsync::directory
