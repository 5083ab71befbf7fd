// Addresses of targets, and the rules on where a target may point. Pure: nothing is resolved.
#pragma once

#include <string>
#include <string_view>

namespace crmsync::net {

struct Url {
    std::string scheme;  // http, https, ldap or ldaps
    std::string host;    // lower case, an IPv6 address without brackets, no trailing dot
    int port = 0;        // the scheme's own when the text names none
    std::string path;    // at least "/"
};

// Throws std::invalid_argument with a message for users: no URL, another scheme, no host, or a user
// name or password in it (they belong in the target's own columns, where they are not shown).
Url parse_url(const std::string& text);

// An address of the machine itself: 127.0.0.0/8, ::1, or the name localhost.
bool is_loopback(const std::string& host);

// http and ldap carry everything in the clear.
bool is_plaintext(const Url& url);

// True when the URL must not be used: in the clear, neither loopback nor allowed.
bool refuses_plaintext(const Url& url, bool allow_plaintext);

// Whether `allowed`, the value of crmsync.allowed_hosts, lets a target point there. The list is
// separated by commas or spaces; an entry is a host name or address, or .suffix for all hosts below
// a domain (not the domain itself), each with :port when only that port is meant. An IPv6 address
// with a port stands in brackets. An empty list allows every host. Case does not matter.
bool is_allowed_host(const Url& url, std::string_view allowed);

}  // namespace crmsync::net
