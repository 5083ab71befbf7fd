// exchange_stand_in: an Exchange server for tests. See README.md.
#include "connection.hpp"
#include "control.hpp"
#include "options.hpp"
#include "service.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <thread>

namespace {

using namespace stand_in;

/// Ends the process on SIGTERM or SIGINT; the threads of open connections go with it.
void end_on_signal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::thread([signals] {
        int received = 0;
        sigwait(&signals, &received);
        std::fflush(nullptr);
        std::_Exit(0);
    }).detach();
}

void announce(int port, const std::string& file) {
    if (!file.empty()) {
        // Written whole or not at all: who waits for the file may read it at once.
        std::ofstream(file + ".new") << port << "\n";
        std::rename((file + ".new").c_str(), file.c_str());
    }
    std::printf("listening on %d\n", port);
    std::fflush(stdout);
}

int serve(const Options& options) {
    static ConnectionServer server;
    static Service service(options);
    if (!options.certificate.empty())
        server.use_tls(options.certificate, options.key);
    server.set_payload_max_length(256u << 20);
    server.Post("/EWS/Exchange.asmx",
                [](const auto& request, auto& response) { service.ews(request, response); });
    // Whoever looks without credentials is asked for them, whatever the method.
    server.Get("/EWS/Exchange.asmx", [](const auto&, auto& response) {
        response.status = 401;
        response.set_header("WWW-Authenticate", "Basic realm=\"127.0.0.1\"");
    });
    server.Post(R"(/[^/]+/oauth2/v2\.0/token)",
                [](const auto& request, auto& response) { service.token(request, response); });
    register_control(server, service);
    int port = options.port;
    if (port == 0)
        port = server.bind_to_any_port("127.0.0.1");
    else if (!server.bind_to_port("127.0.0.1", port))
        port = -1;
    if (port < 0) {
        std::fprintf(stderr, "cannot listen on 127.0.0.1:%d\n", options.port);
        return 1;
    }
    announce(port, options.port_file);
    return server.listen_after_bind() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    Options options = read_options(count, arguments);
    end_on_signal();
    try {
        return serve(options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "exchange_stand_in: %s\n", error.what());
        return 1;
    }
}
