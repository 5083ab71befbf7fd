// Secrets and certificate files: a value, or file:NAME below crmsync.secret_directory.
#pragma once

#include <string>
#include <string_view>

namespace crmsync {

// The secret itself. Throws pg::UserError when the file cannot be read; no message holds a secret.
std::string resolve_secret(std::string_view stored);

// The path of a file named in a target's options (ca_file, cert_file, key_file, keytab), which lies
// below crmsync.secret_directory. Empty for an empty name.
std::string resolve_file(std::string_view name);

}  // namespace crmsync
