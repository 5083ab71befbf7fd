#include "net_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace crmsync::test {

namespace {

ssl_ctx_st* make_tls(const TlsFiles& files) {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1)
        throw std::runtime_error("could not load the test server's certificate");
    if (!files.client_ca.empty()) {
        SSL_CTX_load_verify_locations(context, files.client_ca.c_str(), nullptr);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    return context;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

ReceivedRequest parse_head(std::string_view head) {
    ReceivedRequest request;
    for (std::size_t at = 0; at < head.size();) {
        const std::size_t end = std::min(head.find("\r\n", at), head.size());
        const std::string line(head.substr(at, end - at));
        at = end + 2;
        const auto colon = line.find(':');
        if (request.line.empty())
            request.line = line;
        else if (colon != std::string::npos)
            request.headers[lower(line.substr(0, colon))] =
                line.substr(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
    }
    return request;
}

}  // namespace

std::string ReceivedRequest::header(const std::string& name) const {
    auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
}

long Connection::receive(char* bytes, std::size_t size) {
    if (tls_)
        return SSL_read(tls_, bytes, static_cast<int>(size));
    return recv(socket_, bytes, size, 0);
}

std::optional<ReceivedRequest> Connection::read() {
    char bytes[65536];
    std::size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
        const long count = receive(bytes, sizeof bytes);
        if (count <= 0)
            return std::nullopt;
        buffer_.append(bytes, static_cast<std::size_t>(count));
    }
    ReceivedRequest request = parse_head(std::string_view(buffer_).substr(0, end));
    const std::string length = request.header("content-length");
    const std::size_t total = end + 4 + (length.empty() ? 0 : std::stoul(length));
    while (buffer_.size() < total) {
        const long count = receive(bytes, sizeof bytes);
        if (count <= 0)
            return std::nullopt;
        buffer_.append(bytes, static_cast<std::size_t>(count));
    }
    request.body = buffer_.substr(end + 4, total - end - 4);
    buffer_.erase(0, total);
    return request;
}

std::string Connection::read_some() {
    std::string bytes(65536, '\0');
    bytes.resize(static_cast<std::size_t>(std::max(receive(bytes.data(), bytes.size()), 0L)));
    return bytes;
}

void Connection::wait_for_bytes() {
    pollfd wait{socket_, POLLIN, 0};
    poll(&wait, 1, 20'000);
}

bool Connection::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const long count = tls_ ? SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()))
                                : send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count <= 0)
            return false;
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

void Connection::reset() {
    const linger now{1, 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void Connection::wait_for_close() {
    pollfd wait{socket_, POLLRDHUP, 0};
    poll(&wait, 1, 20'000);
}

Server::Server(Script script, std::optional<TlsFiles> tls) : script_(std::move(script)) {
    // SSL_write has no MSG_NOSIGNAL.
    signal(SIGPIPE, SIG_IGN);
    if (tls)
        tls_ = make_tls(*tls);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 256) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error("could not open the test server's socket");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
}

Server::~Server() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        shutdown(listener_, SHUT_RDWR);
        for (const auto& [number, socket] : open_)
            shutdown(socket, SHUT_RDWR);
    }
    acceptor_.join();
    for (std::thread& thread : threads_)
        thread.join();
    close(listener_);
    SSL_CTX_free(tls_);
}

std::string Server::url(const std::string& host) const {
    return (tls_ ? "https://" : "http://") + host + ":" + std::to_string(port_) + "/";
}

void Server::accept_all() {
    for (;;) {
        const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        std::lock_guard lock(mutex_);
        if (stopping_ || socket < 0) {
            if (socket >= 0)
                close(socket);
            return;
        }
        const int number = ++accepted_;
        open_[number] = socket;
        most_open_ = std::max(most_open_.load(), static_cast<int>(open_.size()));
        threads_.emplace_back([this, socket, number] { serve(socket, number); });
    }
}

void Server::serve(int socket, int number) {
    SSL* tls = nullptr;
    bool ready = true;
    if (tls_) {
        tls = SSL_new(tls_);
        SSL_set_fd(tls, socket);
        ready = SSL_accept(tls) == 1;
    }
    Connection connection(socket, number, tls);
    if (ready)
        script_(connection);
    SSL_free(tls);
    // Closed under the lock, so that the destructor never shuts down somebody else's descriptor.
    std::lock_guard lock(mutex_);
    open_.erase(number);
    close(socket);
}

Server::Script answering(std::function<std::string(const ReceivedRequest&)> answer) {
    return [answer = std::move(answer)](Connection& connection) {
        while (auto request = connection.read())
            if (!connection.write(answer(*request)))
                return;
    };
}

std::string http_answer(int status, const std::string& body, const std::string& headers) {
    return "HTTP/1.1 " + std::to_string(status) + " Status\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace crmsync::test
