#include "server/configuration/secret.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "server/postgres/boundary.h"
#include "server/postgres/preload.h"

namespace crmsync {

namespace {

constexpr std::string_view file_prefix = "file:";
constexpr std::size_t longest_secret = 64 * 1024;

std::string path_below_directory(std::string_view name) {
    const std::string directory = preload().secret_directory();
    if (directory.empty()) {
        throw pg::UserError(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                            "crmsync.secret_directory is not set", {},
                            "A superuser sets it to the directory that holds the secret files.");
    }
    // Nothing may lead out of the directory, by whichever name.
    if (name.empty() || name.front() == '.' || name.find('/') != std::string_view::npos) {
        throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE,
                            "invalid name of a secret file \"" + std::string(name) + "\"", {},
                            "Give the plain name of a file in crmsync.secret_directory.");
    }
    return directory + "/" + std::string(name);
}

}  // namespace

std::string resolve_file(std::string_view name) {
    if (name.starts_with(file_prefix)) {
        name.remove_prefix(file_prefix.size());
    }
    return name.empty() ? std::string() : path_below_directory(name);
}

std::string resolve_secret(std::string_view stored) {
    if (!stored.starts_with(file_prefix)) {
        return std::string(stored);
    }
    const std::string path = path_below_directory(stored.substr(file_prefix.size()));
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::string secret(longest_secret, '\0');
    file.read(secret.data(), static_cast<std::streamsize>(secret.size()));
    if (file.bad() || (file.fail() && !file.eof()) || !file.is_open()) {
        throw pg::UserError(ERRCODE_UNDEFINED_FILE, "could not read secret file \"" + path + "\"",
                            pg_strerror(errno),
                            "The server's operating system user needs to be able to read it.");
    }
    secret.resize(static_cast<std::size_t>(file.gcount()));
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) {
        secret.pop_back();
    }
    return secret;
}

}  // namespace crmsync
