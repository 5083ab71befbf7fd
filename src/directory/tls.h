// What TLS is to verify and show, told to libldap.
#pragma once

#include "directory/connection.h"

namespace crmsync::directory {

// Before the handshake. Throws Error (tls) when a file cannot be read.
void set_tls_options(LDAP* ldap, const Server& server);

}  // namespace crmsync::directory
