// The requests of one endpoint: a queue, a bounded number of transfers, and their connections.
// Every endpoint has a multi handle of its own, so that connections, which some methods of
// authentication bind to an identity, are never shared between endpoints, and none has to wait for
// another.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "net/access_token.h"
#include "net/client.h"
#include "net/curl.h"
#include "net/probation.h"
#include "net/transfer.h"

namespace crmsync::net {

class ConnectionPool {
  public:
    // Registers its sockets in the epoll descriptor `events`, with `number` in the upper half of
    // their data and the socket in the lower. Throws as set_option does.
    ConnectionPool(const std::shared_ptr<const Endpoint>& endpoint, int events,
                   std::uint32_t number);
    ~ConnectionPool();
    ConnectionPool(const ConnectionPool&) = delete;
    ConnectionPool& operator=(const ConnectionPool&) = delete;

    // Throws std::invalid_argument for a header that is none, std::bad_alloc.
    void submit(Ticket ticket, Request request);

    // epoll reported `epoll_events` for this socket.
    void on_socket(int socket, std::uint32_t epoll_events);

    // Starts what may start, does what is due, and appends what has finished to `finished`.
    void advance(std::vector<Completion>& finished);

    // When advance() is due even without an event.
    std::optional<Clock::time_point> deadline() const;

    // Gives up everything; advance() returns the completions.
    void cancel();

    // Takes back what has not begun, and appends its tickets.
    void recall(std::vector<Ticket>& tickets);

    std::size_t waiting() const noexcept { return waiting_.size(); }
    bool is_idle() const noexcept;

  private:
    struct Waiting {
        Ticket ticket;
        Request request;
        List headers;
        bool renewed = false;  // the token was renewed for this request already
    };
    struct Active {
        std::unique_ptr<Transfer> transfer;
        Waiting request;  // its Request is in the transfer meanwhile
        int token_generation = 0;
        Clock::time_point began{};
    };

    static int on_socket_change(CURL*, curl_socket_t socket, int what, void* self,
                                void* known) noexcept;
    static int on_timer_change(CURLM*, long milliseconds, void* self) noexcept;

    bool has_room() const noexcept;
    bool start_waiting();
    void start(Waiting waiting);
    bool may_start();
    void start_token_request();
    std::unique_ptr<Transfer> idle_transfer(const std::string& session);
    void add(Transfer& transfer);
    bool run_timer();
    bool collect();
    void on_done(CURL* easy, CURLcode code);
    void on_token_answer(CURLcode code);
    void token_failed(const TransportError& error,
                      std::optional<std::chrono::milliseconds> retry_after);
    void on_answer(Active active, CURLcode code);
    bool repeat_with_new_token(Active& active, const Response& response);
    void note_credentials(const Active& active, const Response& response);
    void remember_connection(const Transfer& transfer, Response& response);
    void finish(Ticket ticket, Response response);
    void fail_waiting(const TransportError& error,
                      std::optional<std::chrono::milliseconds> retry_after);

    Endpoint endpoint_;
    std::optional<TransportError> unusable_;
    int events_;
    std::uint32_t number_;
    Multi multi_;
    std::optional<Clock::time_point> timer_;
    std::deque<Waiting> waiting_;
    std::vector<Active> active_;
    std::vector<std::unique_ptr<Transfer>> idle_;
    std::set<long> working_connections_;  // by local port
    Probation probation_;
    bool refused_ = false;  // the credentials, since advance() began
    AccessToken token_;
    std::unique_ptr<Transfer> token_transfer_;  // while a token is asked for
    List token_headers_;
    std::vector<Completion> finished_;  // not yet returned by advance()
};

}  // namespace crmsync::net
