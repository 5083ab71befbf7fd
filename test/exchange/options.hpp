// The command line.
#pragma once

#include <string>
#include <vector>

namespace stand_in {

struct Options {
    int port = 0;
    std::string port_file;
    std::string certificate, key;  ///< PEM files; both given: HTTPS
    int mailboxes = 0;
    std::vector<std::string> addresses;
    std::string user = "service@example.test", password = "secret";
    std::string client_id = "client", client_secret = "client-secret";
    double token_seconds = 3600;
    double request_ms = 0, item_ms = 0;  ///< simulated service time
    std::string journal, bodies;
    std::string schema;
    bool check_answers = false;
    bool gzip = false;
};

/// Reads the arguments; prints usage and exits for --help and for what it does not know.
Options read_options(int count, char** arguments);

}  // namespace stand_in
