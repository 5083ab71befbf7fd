#include "options.hpp"

#include <getopt.h>

#include <cstdio>
#include <cstdlib>

namespace stand_in {

namespace {

constexpr const char* kUsage =
    R"(exchange_stand_in: answers Exchange Web Services on 127.0.0.1, for tests
  --port N              port to listen on; 0 (default) takes a free one
  --port-file FILE      write the port there
  --cert FILE --key FILE  PEM certificate and key; both given: HTTPS
  --mailboxes N         create user1@example.test .. userN@example.test
  --mailbox ADDRESS     create this mailbox (may be repeated)
  --user NAME --password TEXT   the service account (service@example.test, secret)
  --client-id NAME --client-secret TEXT   for OAuth2 client credentials
  --token-seconds N     life of a token (3600)
  --request-ms N        simulated service time of a request (0)
  --item-ms N           and of each item in it (0)
  --journal FILE        one line for each request
  --bodies DIR          every request and answer in a file
  --schema DIR          validate requests against DIR/envelope.xsd
  --check-answers       and our own answers too
  --gzip                compress answers where the client accepts it
)";

[[noreturn]] void usage(int status) {
    std::fputs(kUsage, status == 0 ? stdout : stderr);
    std::exit(status);
}

}  // namespace

Options read_options(int count, char** arguments) {
    enum Code {
        port = 256,
        port_file,
        cert,
        key,
        mailboxes,
        mailbox,
        user,
        password,
        client_id,
        client_secret,
        token_seconds,
        request_ms,
        item_ms,
        journal,
        bodies,
        schema,
        check_answers,
        gzip,
        help
    };
    static const option table[] = {
        {"port", required_argument, nullptr, port},
        {"port-file", required_argument, nullptr, port_file},
        {"cert", required_argument, nullptr, cert},
        {"key", required_argument, nullptr, key},
        {"mailboxes", required_argument, nullptr, mailboxes},
        {"mailbox", required_argument, nullptr, mailbox},
        {"user", required_argument, nullptr, user},
        {"password", required_argument, nullptr, password},
        {"client-id", required_argument, nullptr, client_id},
        {"client-secret", required_argument, nullptr, client_secret},
        {"token-seconds", required_argument, nullptr, token_seconds},
        {"request-ms", required_argument, nullptr, request_ms},
        {"item-ms", required_argument, nullptr, item_ms},
        {"journal", required_argument, nullptr, journal},
        {"bodies", required_argument, nullptr, bodies},
        {"schema", required_argument, nullptr, schema},
        {"check-answers", no_argument, nullptr, check_answers},
        {"gzip", no_argument, nullptr, gzip},
        {"help", no_argument, nullptr, help},
        {nullptr, 0, nullptr, 0},
    };
    Options options;
    for (int code; (code = getopt_long(count, arguments, "", table, nullptr)) != -1;) {
        switch (code) {
            case port:
                options.port = std::atoi(optarg);
                break;
            case port_file:
                options.port_file = optarg;
                break;
            case cert:
                options.certificate = optarg;
                break;
            case key:
                options.key = optarg;
                break;
            case mailboxes:
                options.mailboxes = std::atoi(optarg);
                break;
            case mailbox:
                options.addresses.emplace_back(optarg);
                break;
            case user:
                options.user = optarg;
                break;
            case password:
                options.password = optarg;
                break;
            case client_id:
                options.client_id = optarg;
                break;
            case client_secret:
                options.client_secret = optarg;
                break;
            case token_seconds:
                options.token_seconds = std::atof(optarg);
                break;
            case request_ms:
                options.request_ms = std::atof(optarg);
                break;
            case item_ms:
                options.item_ms = std::atof(optarg);
                break;
            case journal:
                options.journal = optarg;
                break;
            case bodies:
                options.bodies = optarg;
                break;
            case schema:
                options.schema = optarg;
                break;
            case check_answers:
                options.check_answers = true;
                break;
            case gzip:
                options.gzip = true;
                break;
            case help:
                usage(0);
            default:
                usage(2);
        }
    }
    if (optind != count || options.certificate.empty() != options.key.empty())
        usage(2);
    return options;
}

}  // namespace stand_in
