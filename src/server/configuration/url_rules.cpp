#include "server/configuration/url_rules.h"

#include <sstream>
#include <stdexcept>

#include "net/url.h"
#include "server/postgres/boundary.h"
#include "server/postgres/encoding.h"
#include "server/postgres/preload.h"
#include "server/postgres/query.h"
#include "server/postgres/result_set.h"

extern "C" {
#include "utils/fmgrprotos.h"
}

namespace crmsync {

namespace {

constexpr const char* url_forms =
    "For Exchange https://HOST/EWS/Exchange.asmx, for a directory ldaps://HOST, for a proxy "
    "http://HOST:PORT.";

net::Url parse(const std::string& url) {
    // A socket, whatever its path, is a place on this machine.
    if (url.starts_with("ldapi://")) {
        return {"ldapi", "localhost", 0, "/"};
    }
    try {
        return net::parse_url(url);
    } catch (const std::invalid_argument& error) {
        throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE, error.what(), {}, url_forms);
    }
}

void check_scheme(const std::string& kind, const net::Url& url) {
    const bool ldap = url.scheme == "ldap" || url.scheme == "ldaps" || url.scheme == "ldapi";
    if (ldap != (kind == "ldap")) {
        throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE,
                            "a target of kind " + kind + " cannot have a URL that begins with \"" +
                                url.scheme + "://\"",
                            {}, kind == "ldap" ? "Use ldaps:// or ldap://." : "Use https://.");
    }
}

Datum check_url(FunctionCallInfo call) {
    const std::string kind = pg::text_argument(call, 0);
    // An LDAP target may name several servers.
    std::istringstream urls(pg::text_argument(call, 1));
    const Datum options = call->args[2].value;
    struct Options {
        bool allow_plaintext;
        bool has_password;
        bool start_tls;
    };
    const std::string json = [&] {
        const char* text = pg::guard(
            [&] { return pg::to_utf8(DatumGetCString(DirectFunctionCall1(jsonb_out, options))); });
        return std::string(text);
    }();
    const pg::Rows rows = pg::query(
        "SELECT coalesce((o->>'allow_plaintext')::boolean, false), "
        "coalesce(o->>'auth', '') NOT IN ('', 'none'), coalesce((o->>'start_tls')::boolean, false) "
        "FROM (SELECT $1::jsonb) AS given(o)",
        std::string_view(json));
    const Options given{rows.boolean(0, 0), rows.boolean(0, 1) && !rows.boolean(0, 2),
                        rows.boolean(0, 2)};

    std::string text;
    bool any = false;
    while (urls >> text) {
        any = true;
        const net::Url url = parse(text);
        check_scheme(kind, url);
        if (given.start_tls && url.scheme == "ldaps") {
            throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE,
                                "the option start_tls cannot be used with ldaps://", {},
                                "Use ldap:// with start_tls, or ldaps:// without.");
        }
        check_allowed_host(text);
        const bool secret_on_the_wire = kind != "ldap" || given.has_password;
        if (secret_on_the_wire && net::refuses_plaintext(url, given.allow_plaintext)) {
            throw pg::UserError(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "\"" + url.scheme + "://" + url.host + "\" would be reached without encryption",
                "Credentials and personal data would cross the network in the clear.",
                kind == "ldap" ? "Use ldaps://, or the option start_tls, or set allow_plaintext."
                               : "Use https://, or set the option allow_plaintext.");
        }
    }
    if (!any) {
        throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE, "the URL is empty", {}, url_forms);
    }
    return Datum(0);
}

Datum hosts(FunctionCallInfo call) {
    pg::ResultSet result(call, pg::ResultSet::Of::scalars);
    std::istringstream urls(pg::text_argument(call, 0));
    std::string text;
    while (urls >> text) {
        result.add({parse(text).host});
    }
    return Datum(0);
}

}  // namespace

void check_allowed_host(const std::string& text) {
    const net::Url url = parse(text);
    if (!net::is_allowed_host(url, preload().allowed_hosts())) {
        throw pg::UserError(ERRCODE_INSUFFICIENT_PRIVILEGE,
                            "targets must not point to host \"" + url.host + "\"",
                            "The setting crmsync.allowed_hosts does not list it.",
                            "A superuser can add the host to crmsync.allowed_hosts.");
    }
}

}  // namespace crmsync

CRMSYNC_SQL_FUNCTION(crmsync_check_url, crmsync::check_url);
CRMSYNC_SQL_FUNCTION(crmsync_hosts, crmsync::hosts);
