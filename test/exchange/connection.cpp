#include "connection.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace stand_in {

namespace {

thread_local Connection* current_connection = nullptr;

constexpr int kIdleSeconds = 600;
constexpr std::string_view kNotHttp =
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A request that tells no length has no body (RFC 9112, section 6.3). Some releases of the library
/// would read one until the client closes the connection.
void settle_length(httplib::Request& request) {
    if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding"))
        request.set_header("Content-Length", "0");
}

/// A thread for each connection, so that none waits for another's end.
class ThreadPerConnection : public httplib::TaskQueue {
    // Nothing, or whether there was room, depending on the library's release.
    using Accepted = decltype(std::declval<httplib::TaskQueue&>().enqueue(nullptr));

  public:
    Accepted enqueue(std::function<void()> serve) override {
        std::thread(std::move(serve)).detach();
        return Accepted(true);
    }
    void shutdown() override {}
};

/// A stream answers the questions of all releases of the library, each of which declares only some
/// of them: therefore none says "override".
class AnyStream : public httplib::Stream {
  public:
    virtual bool usable() const = 0;
    virtual bool is_readable() const { return usable(); }
    virtual bool is_writable() const { return usable(); }
    virtual bool wait_readable() const { return usable(); }
    virtual bool wait_writable() const { return usable(); }
    virtual time_t duration() const { return 0; }
};

class SocketConnection final : public AnyStream, public Connection {
  public:
    SocketConnection(int socket, SSL* tls) : socket_(socket), tls_(tls) {
        current_connection = this;
    }

    ~SocketConnection() override {
        current_connection = nullptr;
        if (reset_) {
            linger now{1, 0};
            setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        } else {
            if (tls_ && !dead_)
                SSL_shutdown(tls_);
            shutdown(socket_, SHUT_WR);
        }
        if (tls_)
            SSL_free(tls_);
        ::close(socket_);
    }

    /// Waits for the next request; false when the client has gone or is idle for long.
    bool wait() {
        if (dead_)
            return false;
        if (begin_ < end_ || (tls_ && SSL_pending(tls_) > 0))
            return true;
        pollfd ready{socket_, POLLIN, 0};
        return poll(&ready, 1, kIdleSeconds * 1000) == 1 && fill();
    }

    /// Does the next request begin a TLS handshake, where plain HTTP is spoken? The library may
    /// wait for ever for the end of its first line.
    bool begins_tls() const { return !tls_ && begin_ < end_ && input_[begin_] == '\x16'; }

    bool usable() const override { return !dead_; }
    socket_t socket() const override { return socket_; }

    ssize_t read(char* to, std::size_t size) override {
        if (begin_ == end_ && !fill())
            return 0;
        std::size_t taken = std::min(size, end_ - begin_);
        std::memcpy(to, input_ + begin_, taken);
        begin_ += taken;
        return static_cast<ssize_t>(taken);
    }

    ssize_t write(const char* from, std::size_t size) override {
        if (dead_)
            return -1;
        output_.append(from, size);
        if (output_.size() >= sizeof input_)
            flush();
        return dead_ ? -1 : static_cast<ssize_t>(size);
    }

    void flush() override {
        std::string_view rest = output_;
        while (!rest.empty() && !dead_) {
            ssize_t sent = tls_ ? SSL_write(tls_, rest.data(), static_cast<int>(rest.size()))
                                : send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
            if (sent <= 0)
                dead_ = true;
            else
                rest.remove_prefix(static_cast<std::size_t>(sent));
        }
        output_.clear();
    }

    void hang_up() override {
        dead_ = true;
        shutdown(socket_, SHUT_RDWR);
    }

    bool peer_closed() const override {
        char byte;
        ssize_t got = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
    }

    void get_remote_ip_and_port(std::string& ip, int& port) const override {
        ip = "127.0.0.1";
        port = 0;
    }
    void get_local_ip_and_port(std::string& ip, int& port) const override {
        ip = "127.0.0.1";
        port = 0;
    }

  private:
    bool fill() {
        ssize_t got =
            tls_ ? SSL_read(tls_, input_, sizeof input_) : recv(socket_, input_, sizeof input_, 0);
        begin_ = 0;
        end_ = got > 0 ? static_cast<std::size_t>(got) : 0;
        return got > 0;
    }

    int socket_;
    SSL* tls_;
    char input_[64 * 1024];
    std::size_t begin_ = 0, end_ = 0;
    std::string output_;
};

/// Exchange keeps the connection after an error; a log-on in several steps lives of that. Some
/// releases of the library announce its end.
void keep_open(const httplib::Request& request, httplib::Response& response) {
    if (request.get_header_value("Connection") != "close")
        response.headers.erase("Connection");
}

}  // namespace

Connection& Connection::current() {
    return *current_connection;
}

void Connection::close() {
    dead_ = true;
}

void Connection::reset() {
    dead_ = reset_ = true;
}

ConnectionServer::ConnectionServer() {
    new_task_queue = [] { return new ThreadPerConnection; };
    set_post_routing_handler(keep_open);
    set_tcp_nodelay(true);
    set_keep_alive_max_count(1'000'000'000);
    set_keep_alive_timeout(kIdleSeconds);
    set_read_timeout(kIdleSeconds);
    set_write_timeout(kIdleSeconds);
}

void ConnectionServer::use_tls(const std::string& certificate, const std::string& key) {
    tls_.reset(SSL_CTX_new(TLS_server_method()));
    if (!tls_ || SSL_CTX_use_certificate_chain_file(tls_.get(), certificate.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1)
        throw std::runtime_error("certificate or key cannot be used");
}

bool ConnectionServer::process_and_close_socket(socket_t socket) {
    SSL* tls = nullptr;
    if (tls_) {
        tls = SSL_new(tls_.get());
        SSL_set_fd(tls, socket);
        if (SSL_accept(tls) != 1) {
            SSL_free(tls);
            ::close(socket);
            return false;
        }
    }
    // Releases of the library differ in whether they want the addresses.
    const auto answer = [this](auto& stream, bool& close_after) {
        if constexpr (requires { process_request(stream, false, close_after, settle_length); }) {
            return process_request(stream, false, close_after, settle_length);
        } else {
            const std::string here = "127.0.0.1";
            return process_request(stream, here, 0, here, 0, false, close_after, settle_length);
        }
    };
    ++open_;
    {
        SocketConnection connection(socket, tls);
        connection.number = ++accepted_;
        bool closing = false;
        while (!closing && connection.wait()) {
            if (connection.begins_tls()) {
                connection.write(kNotHttp.data(), kNotHttp.size());
                connection.flush();
                break;
            }
            bool close_after = false;
            if (!answer(connection, close_after))
                break;
            connection.flush();
            closing = close_after;
        }
    }
    --open_;
    return true;
}

}  // namespace stand_in
