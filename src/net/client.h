// HTTP over libcurl's multi interface: many requests at once, none of which ever blocks the caller.
// The caller waits for descriptor() with its own event loop and then calls advance().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace crmsync::net {

enum class Auth { none, basic, ntlm, negotiate, oauth2 };

// Where and how to connect. Two requests share connections, the limit on them and the OAuth token
// when they name the same Endpoint object.
struct Endpoint {
    std::string url;
    Auth auth = Auth::none;
    std::string username;
    std::string secret;
    std::string token_url;  // oauth2: where client credentials are exchanged for a token
    std::string client_id;
    std::string scope;
    std::string keytab;     // negotiate
    std::string ca_file;
    std::string cert_file;
    std::string key_file;
    bool tls_verify = true;
    std::string proxy;
    std::chrono::milliseconds timeout{120'000};          // for a whole request
    std::chrono::milliseconds connect_timeout{10'000};
    int max_connections = 8;
};

struct Request {
    std::vector<std::string> headers;  // "Name: value", checked for line breaks
    std::string body;                  // sent with POST
    std::size_t answer_limit = 32u << 20;  // bytes; a longer answer is an error for this request
};

enum class TransportErrorKind {
    resolve, connect, tls, timeout, too_large, broken, credentials, configuration, cancelled
};

// What kept an HTTP answer from arriving.
struct TransportError {
    TransportErrorKind kind;
    std::string message;  // says which phase was slow or failed; holds no secret
};

struct Response {
    int status = 0;
    std::string body;
    std::string content_type;
    std::string location;                                  // of a redirect; it is not followed
    std::optional<std::chrono::milliseconds> retry_after;  // Retry-After, seconds or a date
    std::optional<TransportError> error;
    bool request_was_sent = false;    // the server may have carried the request out
    bool connection_was_reused = false;
    std::chrono::microseconds duration{0};
};

using Ticket = std::uint64_t;

struct Completion {
    Ticket ticket;
    Response response;
};

class Client {
  public:
    Client();
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Queues a request; it starts when the endpoint has a connection free. Throws std::bad_alloc and
    // std::invalid_argument (a header with a line break, an option libcurl does not know).
    Ticket submit(std::shared_ptr<const Endpoint> endpoint, Request request);

    // An epoll descriptor that is readable when advance() has something to do.
    int descriptor() const noexcept;

    // After this time advance() must be called even if the descriptor stays silent; nullopt: never.
    std::optional<std::chrono::milliseconds> timeout() const;

    // Does whatever can be done without waiting and returns what has finished.
    std::vector<Completion> advance();

    // Gives up every request of this endpoint; their completions come with kind cancelled.
    void cancel(const Endpoint* endpoint);

    std::size_t in_flight() const noexcept;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace crmsync::net
