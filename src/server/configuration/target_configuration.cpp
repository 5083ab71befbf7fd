#include "server/configuration/target_configuration.h"

#include "server/configuration/secret.h"
#include "server/configuration/url_rules.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

constexpr std::string_view target_columns =
    "SELECT t.name, t.kind, t.url, t.auth, coalesce(t.username, ''), t.paused, "
    "coalesce(s.secret, ''), t.options->>'timeout', t.options->>'max_connections', "
    "coalesce(t.options->>'proxy', ''), coalesce(t.options->>'ca_file', ''), "
    "coalesce(t.options->>'cert_file', ''), coalesce(t.options->>'key_file', ''), "
    "coalesce((t.options->>'tls_verify')::boolean, true), "
    "coalesce((t.options->>'impersonation')::boolean, true), "
    "coalesce(t.options->>'server_version', 'Exchange2013_SP1'), "
    "coalesce(t.options->>'tenant', ''), coalesce(t.options->>'client_id', ''), "
    "coalesce(t.options->>'token_url', ''), coalesce(t.options->>'keytab', ''), "
    "coalesce((t.options->>'allow_plaintext')::boolean, false) "
    "FROM crmsync.target t LEFT JOIN crmsync.target_secret s ON s.target = t.name ";

net::Auth auth_from_name(std::string_view name) {
    if (name == "basic") {
        return net::Auth::basic;
    }
    if (name == "ntlm") {
        return net::Auth::ntlm;
    }
    if (name == "negotiate") {
        return net::Auth::negotiate;
    }
    if (name == "oauth2") {
        return net::Auth::oauth2;
    }
    return net::Auth::none;
}

// The scope that a client-credentials token for this server needs: the server itself.
std::string scope_of(const std::string& url) {
    const auto scheme = url.find("://");
    const auto path = scheme == std::string::npos ? scheme : url.find('/', scheme + 3);
    std::string server = url.substr(0, path);
    constexpr std::string_view own_port = ":443";  // of https: the resource is known without it
    if (server.ends_with(own_port)) {
        server.resize(server.size() - own_port.size());
    }
    return server + "/.default";
}

net::Endpoint endpoint_of(const pg::Rows& rows, std::uint64_t row) {
    net::Endpoint endpoint;
    endpoint.url = rows.string(row, 2);
    endpoint.auth = auth_from_name(rows.text(row, 3));
    endpoint.username = rows.string(row, 4);
    endpoint.secret = resolve_secret(rows.text(row, 6));
    const bool by_password = endpoint.auth == net::Auth::basic || endpoint.auth == net::Auth::ntlm;
    if (by_password && endpoint.secret.empty()) {
        // Not tried: every attempt without the password brings the account nearer to being locked.
        throw pg::UserError(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                            "the target has no secret (a dump holds none): give it with "
                            "crmsync.alter_target");
    }
    endpoint.timeout = std::chrono::seconds(rows.number_or(row, 7, 120));
    endpoint.max_connections = static_cast<int>(rows.number_or(row, 8, 8));
    endpoint.proxy = rows.string(row, 9);
    endpoint.ca_file = resolve_file(rows.text(row, 10));
    endpoint.cert_file = resolve_file(rows.text(row, 11));
    endpoint.key_file = resolve_file(rows.text(row, 12));
    endpoint.tls_verify = rows.boolean(row, 13);
    endpoint.client_id = rows.string(row, 17);
    endpoint.token_url = rows.string(row, 18);
    if (endpoint.token_url.empty() && !rows.text(row, 16).empty()) {
        endpoint.token_url =
            "https://login.microsoftonline.com/" + rows.string(row, 16) + "/oauth2/v2.0/token";
    }
    endpoint.scope = scope_of(endpoint.url);
    endpoint.keytab = resolve_file(rows.text(row, 19));
    endpoint.allow_plaintext = rows.boolean(row, 20);
    for (const std::string& url : {endpoint.url, endpoint.token_url, endpoint.proxy}) {
        if (!url.empty()) {
            check_allowed_host(url);
        }
    }
    return endpoint;
}

TargetConfiguration target_of(const pg::Rows& rows, std::uint64_t row) {
    TargetConfiguration target;
    target.name = rows.string(row, 0);
    target.kind = rows.string(row, 1);
    target.paused = rows.boolean(row, 5);
    target.impersonation = rows.boolean(row, 14);
    target.server_version = rows.string(row, 15);
    if (target.kind == "ldap") {
        return target;
    }
    try {
        target.endpoint = std::make_shared<const net::Endpoint>(endpoint_of(rows, row));
    } catch (const pg::UserError& error) {
        target.problem = error.what();
    }
    return target;
}

}  // namespace

TargetConfiguration read_target(const std::string& name) {
    const pg::Rows rows =
        pg::query(std::string(target_columns) + "WHERE t.name = $1", std::string_view(name));
    if (rows.empty()) {
        throw pg::UserError(ERRCODE_UNDEFINED_OBJECT, "target \"" + name + "\" does not exist");
    }
    return target_of(rows, 0);
}

std::map<std::string, TargetConfiguration> read_targets() {
    const pg::Rows rows = pg::query(target_columns);
    std::map<std::string, TargetConfiguration> targets;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        targets.emplace(rows.string(row, 0), target_of(rows, row));
    }
    return targets;
}

}  // namespace crmsync
