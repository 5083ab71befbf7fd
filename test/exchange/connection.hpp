// The HTTP server's connections: one thread each, waiting in poll, closed the way a fault wants.
//
// cpp-httplib parses requests and writes answers; its own connection loop polls a hundred times a
// second, serves only as many connections as its pool has threads, and always ends politely. This
// one waits without waking up, has as many threads as connections, joins small writes into one
// packet, and can break a connection off: closed or reset, before or in the middle of an answer.
#pragma once

#include <httplib.h>

#include <openssl/ssl.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace stand_in {

/// The connection of the request that this thread is answering.
class Connection {
  public:
    static Connection& current();

    /// Nothing more is written; the connection is closed after the handler returns.
    void close();
    /// The same with a reset (RST).
    void reset();
    /// The client sees the end at once, whatever is done for it yet.
    virtual void hang_up() = 0;
    /// Sends now what was written so far.
    virtual void flush() = 0;
    /// Has the client gone away?
    virtual bool peer_closed() const = 0;

    std::uint64_t number = 0;

  protected:
    ~Connection() = default;
    bool dead_ = false, reset_ = false;
};

class ConnectionServer : public httplib::Server {
  public:
    ConnectionServer();
    /// Speaks TLS from now on. Throws std::runtime_error when the files do not serve.
    void use_tls(const std::string& certificate, const std::string& key);

    std::uint64_t accepted() const { return accepted_; }
    int open() const { return open_; }

  private:
    bool process_and_close_socket(socket_t socket) override;

    struct FreeContext {
        void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    };
    std::unique_ptr<SSL_CTX, FreeContext> tls_;
    std::atomic<std::uint64_t> accepted_{0};
    std::atomic<int> open_{0};
};

}  // namespace stand_in
