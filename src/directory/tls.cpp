#include "directory/tls.h"

#include <array>

#include <unistd.h>

namespace crmsync::directory {

namespace {

// Where distributions keep the certificates that the system trusts; libldap's own default comes
// from ldap.conf, which is not read.
constexpr std::array system_ca_files = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt",
                                        "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

}  // namespace

void set_tls_options(LDAP* ldap, const Server& server) {
    const int require = server.tls_verify ? LDAP_OPT_X_TLS_DEMAND : LDAP_OPT_X_TLS_NEVER;
    const int match_name = server.tls_verify ? LDAP_OPT_X_TLS_DEMAND : LDAP_OPT_X_TLS_NEVER;
    const int oldest = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    const int client = 0;
    std::string ca_file = server.ca_file;
    for (const char* candidate : system_ca_files) {
        if (ca_file.empty() && access(candidate, R_OK) == 0) {
            ca_file = candidate;
        }
    }
    ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &require);
    ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_SAN, &match_name);
    ldap_set_option(ldap, LDAP_OPT_X_TLS_PROTOCOL_MIN, &oldest);
    if (!ca_file.empty()) {
        ldap_set_option(ldap, LDAP_OPT_X_TLS_CACERTFILE, ca_file.c_str());
    }
    if (!server.cert_file.empty()) {
        ldap_set_option(ldap, LDAP_OPT_X_TLS_CERTFILE, server.cert_file.c_str());
        const std::string& key = server.key_file.empty() ? server.cert_file : server.key_file;
        ldap_set_option(ldap, LDAP_OPT_X_TLS_KEYFILE, key.c_str());
    }
    // Options of one handle take effect only in a context of its own, made after them.
    if (ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &client) != LDAP_OPT_SUCCESS) {
        throw Error(ErrorKind::tls,
                    "could not prepare TLS: a certificate or key file cannot be read",
                    "check ca_file, cert_file and key_file: PEM files that the server's user may "
                    "read");
    }
}

}  // namespace crmsync::directory
