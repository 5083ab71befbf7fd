// An HTTP server for tests that does exactly what a test's script says, on a real socket: each
// connection has a thread that runs the script.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

struct ssl_ctx_st;
struct ssl_st;

namespace crmsync::test {

struct ReceivedRequest {
    std::string line;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;

    std::string header(const std::string& name) const;
};

class Connection {
  public:
    Connection(int socket, int number, ssl_st* tls) : socket_(socket), number_(number), tls_(tls) {}

    // Connections are numbered from 1 in the order in which they were accepted.
    int number() const { return number_; }

    // The next request; nullopt when the client has closed the connection.
    std::optional<ReceivedRequest> read();

    // Whatever arrives next, of any protocol; empty when the client has closed the connection.
    std::string read_some();

    // Returns when something has arrived, which stays unread.
    void wait_for_bytes();

    // False when the client is gone.
    bool write(std::string_view bytes);

    // Closes with RST instead of FIN.
    void reset();

    // Returns when the client has closed the connection or the server stops.
    void wait_for_close();

  private:
    long receive(char* bytes, std::size_t size);

    int socket_;
    int number_;
    ssl_st* tls_;
    std::string buffer_;
};

struct TlsFiles {
    std::string certificate;
    std::string key;
    std::string client_ca;  // not empty: clients must show a certificate of this authority
};

class Server {
  public:
    using Script = std::function<void(Connection&)>;

    explicit Server(Script script, std::optional<TlsFiles> tls = std::nullopt);
    ~Server();

    int port() const { return port_; }
    std::string url(const std::string& host = "127.0.0.1") const;
    int connections() const { return accepted_; }
    int most_open_at_once() const { return most_open_; }

  private:
    void accept_all();
    void serve(int socket, int number);

    Script script_;
    ssl_ctx_st* tls_ = nullptr;
    int listener_;
    int port_ = 0;
    std::atomic<int> accepted_{0};
    std::atomic<int> most_open_{0};
    std::mutex mutex_;
    std::map<int, int> open_;  // number -> socket
    bool stopping_ = false;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

// A script that answers every request of a connection with what `answer` makes of it.
Server::Script answering(std::function<std::string(const ReceivedRequest&)> answer);

// A whole HTTP answer; `headers` are lines that end in CR LF.
std::string http_answer(int status, const std::string& body, const std::string& headers = "");

}  // namespace crmsync::test
