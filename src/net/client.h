// HTTP over libcurl's multi interface: many requests at once. The caller submits what it has, and
// then calls wait() and advance() by turns.
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
    std::string keytab;  // negotiate
    std::string ca_file;
    std::string cert_file;
    std::string key_file;
    bool tls_verify = true;
    bool allow_plaintext = false;  // http to a host that is not a loopback address
    std::string proxy;             // the only one used: the environment's variables are ignored
    std::chrono::milliseconds timeout{120'000};         // for a whole request
    std::chrono::milliseconds connect_timeout{10'000};  // for DNS, TCP and TLS together
    std::chrono::seconds stall_timeout{
        20};  // an answer that drips for so long is given up; 0: never
    int max_connections = 8;
};

struct Request {
    std::vector<std::string> headers;      // "Name: value", checked for line breaks
    std::string body;                      // sent with POST
    std::size_t answer_limit = 32u << 20;  // unpacked bytes; a longer answer is an error
    std::string session;      // cookies are kept for requests of the same session (a mailbox) only
    bool repeatable = false;  // it does no harm twice: may be sent again by itself when a kept
                              // connection proves dead; else that is an error with request_was_sent
};

enum class TransportErrorKind {
    resolve,        // no address for the host, also after a while
    connect,        // no connection, also when TCP or TLS took longer than the connect timeout
    tls,            // no trust or no common ground: stays so until somebody changes something
    timeout,        // connected, but the answer was not complete in time
    too_large,      // the answer exceeds Request::answer_limit
    broken,         // the connection or the answer broke off, or makes no sense
    credentials,    // the token server refused the client (an HTTP 401 is a Response, not an error)
    configuration,  // this endpoint can never work as it is described, or with this libcurl
    cancelled       // by Client::cancel
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
    std::optional<TransportError> error;                   // then status is 0 and body empty
    bool request_was_sent = false;  // the server may have carried the request out
    bool connection_was_reused = false;
    bool connection_worked_before = false;  // it has answered an earlier request other than by 401
    std::chrono::microseconds duration{0};
    // How far the server's clock was ahead of ours when it answered, by its Date; to the second.
    std::optional<std::chrono::seconds> clock_ahead;
};

using Ticket = std::uint64_t;

struct Completion {
    Ticket ticket;
    Response response;
};

// One thread uses a Client, save for wake(). libcurl starts threads of its own to resolve names;
// they are started with every signal blocked, so that the caller's handlers never run in them.
// Authentication by Negotiate may wait for the Kerberos server inside advance(); nothing else waits
// there.
class Client {
  public:
    // Throws std::runtime_error when libcurl or epoll cannot be set up.
    Client();
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Queues a request; it starts, in the order of the calls, when the endpoint has a connection
    // free; the timeout counts from then. An endpoint is known by its object: a changed one is a
    // new object. Throws std::bad_alloc and std::invalid_argument (a header with a line break, an
    // option libcurl does not know).
    Ticket submit(const std::shared_ptr<const Endpoint>& endpoint, Request request);

    // Waits until advance() has something to do, which it has at once after submit() and cancel(),
    // or somebody calls wake(); nullopt: however long that takes.
    void wait(std::optional<std::chrono::milliseconds> longest = std::nullopt);

    // Ends the wait() under way, or the next one. Any thread may call it.
    void wake() noexcept;

    // Does whatever can be done without waiting since the last wait(), and returns what has
    // finished.
    std::vector<Completion> advance();

    // Gives up every request of this endpoint; their completions come with kind cancelled.
    void cancel(const Endpoint* endpoint);

    // Takes back the requests of this endpoint, or of all (nullptr), that have not begun. There
    // are no completions for them.
    std::vector<Ticket> recall(const Endpoint* endpoint);

    // Requests whose completion advance() has not returned yet.
    std::size_t in_flight() const noexcept;

    // Those of them that have not begun.
    std::size_t waiting() const noexcept;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace crmsync::net
