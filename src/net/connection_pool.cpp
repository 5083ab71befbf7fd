#include "net/connection_pool.h"

#include <sys/epoll.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <stdexcept>

#include "net/easy_options.h"
#include "net/header_lines.h"

namespace crmsync::net {

namespace {

template <typename T>
void set_multi_option(CURLM* multi, CURLMoption option, T value) {
    if (CURLMcode code = curl_multi_setopt(multi, option, value); code != CURLM_OK)
        throw std::invalid_argument(std::string("libcurl does not accept an option: ") +
                                    curl_multi_strerror(code));
}

Transfer& transfer_of(CURL* easy) {
    char* self = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &self);
    return *reinterpret_cast<Transfer*>(self);
}

// One request that cannot be set up must not take the others with it.
Response failed_start(const std::exception& error) {
    Response response;
    response.error = {TransportErrorKind::configuration,
                      std::string("could not set up the request: ") + error.what()};
    return response;
}

}  // namespace

ConnectionPool::ConnectionPool(const std::shared_ptr<const Endpoint>& endpoint, int events,
                               std::uint32_t number)
    : endpoint_(*endpoint),
      unusable_(check_endpoint(endpoint_)),
      events_(events),
      number_(number),
      multi_(make_multi()) {
    endpoint_.max_connections = std::clamp(endpoint_.max_connections, 1, 1'000);
    set_multi_option(multi_.get(), CURLMOPT_SOCKETFUNCTION, &ConnectionPool::on_socket_change);
    set_multi_option(multi_.get(), CURLMOPT_SOCKETDATA, this);
    set_multi_option(multi_.get(), CURLMOPT_TIMERFUNCTION, &ConnectionPool::on_timer_change);
    set_multi_option(multi_.get(), CURLMOPT_TIMERDATA, this);
    // One more than is used at a time, for the token server. libcurl's default follows the number
    // of transfers and closes good connections whenever that falls.
    set_multi_option(multi_.get(), CURLMOPT_MAXCONNECTS,
                     static_cast<long>(endpoint_.max_connections) + 1);
    active_.reserve(static_cast<std::size_t>(endpoint_.max_connections));
}

ConnectionPool::~ConnectionPool() {
    for (Active& active : active_)
        curl_multi_remove_handle(multi_.get(), active.transfer->handle());
    if (token_transfer_)
        curl_multi_remove_handle(multi_.get(), token_transfer_->handle());
}

void ConnectionPool::submit(Ticket ticket, Request request) {
    List headers = make_header_list(request.headers);
    if (unusable_) {
        Response response;
        response.error = unusable_;
        finish(ticket, std::move(response));
        return;
    }
    waiting_.push_back({ticket, std::move(request), std::move(headers)});
}

void ConnectionPool::recall(std::vector<Ticket>& tickets) {
    for (const Waiting& waiting : waiting_)
        tickets.push_back(waiting.ticket);
    waiting_.clear();
}

bool ConnectionPool::is_idle() const noexcept {
    return waiting_.empty() && active_.empty() && finished_.empty() && !token_transfer_;
}

bool ConnectionPool::has_room() const noexcept {
    return active_.size() < static_cast<std::size_t>(endpoint_.max_connections);
}

std::optional<Clock::time_point> ConnectionPool::deadline() const {
    if (!finished_.empty())
        return Clock::time_point::min();
    const Clock::time_point now = Clock::now();
    if (waiting_.empty() || !has_room() || (token_transfer_ && !token_.is_usable(now)))
        return timer_;
    const Clock::time_point start = probation_.next_start(now, active_.size());
    return timer_ ? std::min(*timer_, start) : start;
}

// The events follow.

int ConnectionPool::on_socket_change(CURL*, curl_socket_t socket, int what, void* self,
                                     void* known) noexcept {
    auto& pool = *static_cast<ConnectionPool*>(self);
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(pool.events_, EPOLL_CTL_DEL, socket, nullptr);
        return 0;
    }
    epoll_event event{};
    event.events =
        ((what & CURL_POLL_IN) ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) ? EPOLLOUT : 0u);
    event.data.u64 =
        static_cast<std::uint64_t>(pool.number_) << 32 | static_cast<std::uint32_t>(socket);
    if (known && epoll_ctl(pool.events_, EPOLL_CTL_MOD, socket, &event) == 0)
        return 0;
    if (epoll_ctl(pool.events_, EPOLL_CTL_ADD, socket, &event) != 0 &&
        epoll_ctl(pool.events_, EPOLL_CTL_MOD, socket, &event) != 0)
        return -1;
    curl_multi_assign(pool.multi_.get(), socket, self);
    return 0;
}

int ConnectionPool::on_timer_change(CURLM*, long milliseconds, void* self) noexcept {
    auto& pool = *static_cast<ConnectionPool*>(self);
    if (milliseconds < 0)
        pool.timer_.reset();
    else
        pool.timer_ = Clock::now() + std::chrono::milliseconds(milliseconds);
    return 0;
}

void ConnectionPool::on_socket(int socket, std::uint32_t epoll_events) {
    int flags = 0;
    if (epoll_events & (EPOLLIN | EPOLLHUP))
        flags |= CURL_CSELECT_IN;
    if (epoll_events & EPOLLOUT)
        flags |= CURL_CSELECT_OUT;
    if (epoll_events & EPOLLERR)
        flags |= CURL_CSELECT_ERR;
    int running = 0;
    curl_multi_socket_action(multi_.get(), socket, flags, &running);
}

bool ConnectionPool::run_timer() {
    if (!timer_ || *timer_ > Clock::now())
        return false;
    timer_.reset();
    int running = 0;
    curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    return true;
}

void ConnectionPool::advance(std::vector<Completion>& finished) {
    // Finished transfers make room for others, whose first steps are due at once. The bound keeps a
    // server that answers at once from keeping the caller here. Of a refusal he hears before
    // anything else begins.
    refused_ = false;
    for (int round = 0; round < 4; ++round) {
        bool busy = collect();
        if (refused_)
            break;
        busy |= start_waiting();
        busy |= run_timer();
        if (!busy)
            break;
    }
    collect();
    finished.reserve(finished.size() + finished_.size());
    std::move(finished_.begin(), finished_.end(), std::back_inserter(finished));
    finished_.clear();
}

// Starting requests.

bool ConnectionPool::may_start() {
    if (waiting_.empty() || !has_room())
        return false;
    const Clock::time_point now = Clock::now();
    if (probation_.next_start(now, active_.size()) > now)
        return false;
    if (endpoint_.auth != Auth::oauth2)
        return true;
    if (token_.is_due(now) && !token_transfer_)
        start_token_request();
    return token_.is_usable(now) && !waiting_.empty();
}

bool ConnectionPool::start_waiting() {
    bool started = false;
    while (may_start()) {
        Waiting next = std::move(waiting_.front());
        waiting_.pop_front();
        start(std::move(next));
        started = true;
    }
    return started;
}

void ConnectionPool::start(Waiting waiting) {
    const Ticket ticket = waiting.ticket;
    try {
        Active active{idle_transfer(waiting.request.session), std::move(waiting),
                      token_.generation(), Clock::now()};
        active.transfer->prepare(std::move(active.request.request), active.request.headers);
        if (endpoint_.auth == Auth::oauth2)
            active.transfer->set_bearer(token_.text());
        add(*active.transfer);
        probation_.begin(active.began, active_.size());
        active_.push_back(std::move(active));  // its capacity is reserved
    } catch (const std::exception& error) {
        finish(ticket, failed_start(error));
    }
}

// Preferably one that has served this session before and holds its cookies.
std::unique_ptr<Transfer> ConnectionPool::idle_transfer(const std::string& session) {
    if (idle_.empty()) {
        auto transfer = std::make_unique<Transfer>(endpoint_, endpoint_.url);
        set_authentication(transfer->handle(), endpoint_);
        return transfer;
    }
    auto same = std::find_if(idle_.rbegin(), idle_.rend(),
                             [&](const auto& transfer) { return transfer->session() == session; });
    if (same != idle_.rend())
        std::swap(*same, idle_.back());
    auto transfer = std::move(idle_.back());
    idle_.pop_back();
    return transfer;
}

void ConnectionPool::add(Transfer& transfer) {
    if (curl_multi_add_handle(multi_.get(), transfer.handle()) != CURLM_OK)
        throw std::bad_alloc();
}

void ConnectionPool::start_token_request() {
    try {
        auto transfer = std::make_unique<Transfer>(endpoint_, endpoint_.token_url);
        Request request = make_token_request(endpoint_);
        token_headers_ = make_header_list(request.headers);
        transfer->prepare(std::move(request), token_headers_);
        add(*transfer);
        token_transfer_ = std::move(transfer);
    } catch (const std::exception& error) {
        token_failed(*failed_start(error).error, std::nullopt);
    }
}

// Finished requests.

bool ConnectionPool::collect() {
    bool any = false;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg != CURLMSG_DONE)
            continue;
        // Removing the handle frees the message.
        CURL* easy = message->easy_handle;
        const CURLcode code = message->data.result;
        curl_multi_remove_handle(multi_.get(), easy);
        on_done(easy, code);
        any = true;
    }
    return any;
}

void ConnectionPool::on_done(CURL* easy, CURLcode code) {
    Transfer& transfer = transfer_of(easy);
    if (&transfer == token_transfer_.get()) {
        on_token_answer(code);
        return;
    }
    auto found = std::find_if(active_.begin(), active_.end(),
                              [&](const Active& a) { return a.transfer.get() == &transfer; });
    Active active = std::move(*found);
    std::swap(*found, active_.back());
    active_.pop_back();
    on_answer(std::move(active), code);
}

void ConnectionPool::on_answer(Active active, CURLcode code) {
    Response response = active.transfer->finish(code);
    remember_connection(*active.transfer, response);
    note_credentials(active, response);
    if (endpoint_.auth == Auth::oauth2 && repeat_with_new_token(active, response)) {
        idle_.push_back(std::move(active.transfer));
        return;
    }
    finish(active.request.ticket, std::move(response));
    idle_.push_back(std::move(active.transfer));
}

void ConnectionPool::note_credentials(const Active& active, const Response& response) {
    const Clock::time_point now = Clock::now();
    if (response.status == 401) {
        probation_.refused(now);
        refused_ = true;
    } else if (response.status / 100 == 2 || response.status == 500) {
        // Anything else may be said before anybody has looked who asks.
        probation_.accepted(active.began, now);
    }
}

void ConnectionPool::remember_connection(const Transfer& transfer, Response& response) {
    const long connection = transfer.connection();
    if (!response.connection_was_reused)
        working_connections_.erase(connection);
    response.connection_worked_before = working_connections_.contains(connection);
    if (response.status != 0 && response.status != 401)
        working_connections_.insert(connection);
}

// A server that answers 401 has not carried the request out, so it can be made again.
bool ConnectionPool::repeat_with_new_token(Active& active, const Response& response) {
    if (response.status != 0 && response.status != 401)
        token_.confirm(active.token_generation);
    if (response.status != 401 || active.request.renewed ||
        !token_.refused(active.token_generation, Clock::now()))
        return false;
    active.request.renewed = true;
    active.request.request = active.transfer->take_request();
    waiting_.push_front(std::move(active.request));
    return true;
}

void ConnectionPool::on_token_answer(CURLcode code) {
    const std::unique_ptr<Transfer> transfer = std::move(token_transfer_);
    const Response response = transfer->finish(code);
    auto answer = read_token_answer(endpoint_, response);
    if (auto* grant = std::get_if<TokenGrant>(&answer))
        token_.store(std::move(*grant), Clock::now());
    else
        token_failed(std::get<TransportError>(answer), response.retry_after);
}

// A token server that is away concerns nobody while the token serves that it gave before; what
// waits hears of one that refuses the client.
void ConnectionPool::token_failed(const TransportError& error,
                                  std::optional<std::chrono::milliseconds> retry_after) {
    const Clock::time_point now = Clock::now();
    token_.put_off(now, retry_after);
    if (error.kind == TransportErrorKind::credentials || !token_.is_usable(now))
        fail_waiting(error, retry_after);
}

void ConnectionPool::finish(Ticket ticket, Response response) {
    finished_.push_back({ticket, std::move(response)});
}

void ConnectionPool::fail_waiting(const TransportError& error,
                                  std::optional<std::chrono::milliseconds> retry_after) {
    for (Waiting& waiting : waiting_) {
        Response response;
        response.error = error;
        response.retry_after = retry_after;
        finish(waiting.ticket, std::move(response));
    }
    waiting_.clear();
}

void ConnectionPool::cancel() {
    const std::string message = "the request was given up";
    for (Active& active : active_) {
        curl_multi_remove_handle(multi_.get(), active.transfer->handle());
        finish(active.request.ticket, active.transfer->give_up(message));
    }
    active_.clear();
    if (token_transfer_)
        curl_multi_remove_handle(multi_.get(), token_transfer_->handle());
    token_transfer_.reset();
    fail_waiting({TransportErrorKind::cancelled, message}, std::nullopt);
}

}  // namespace crmsync::net
