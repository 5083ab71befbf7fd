#include "net/client.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <stdexcept>

#include "net/connection_pool.h"
#include "net/curl.h"
#include "net/descriptor.h"

namespace crmsync::net {

namespace {

// The data of the event by which another thread wakes us; those of sockets have the number of their
// pool, from 1, in the upper half.
constexpr std::uint64_t wake_event = 0;

}  // namespace

struct Client::State {
    struct Entry {
        std::weak_ptr<const Endpoint> endpoint;
        std::unique_ptr<ConnectionPool> pool;
    };

    Descriptor events = make_epoll();
    Descriptor woken = make_event();
    std::array<epoll_event, 128> events_met{};  // by the last wait()
    int met_count = 0;
    // By a number that is never used again, which the events carry: one that is reported after its
    // pool has gone finds nothing.
    std::map<std::uint32_t, Entry> pools;
    std::map<std::weak_ptr<const Endpoint>, std::uint32_t, std::owner_less<>> numbers;
    std::uint32_t last_number = 0;
    Ticket last_ticket = 0;
    std::size_t in_flight = 0;
    std::vector<Completion> finished;  // kept here so that an exception loses none

    ConnectionPool& pool_of(const std::shared_ptr<const Endpoint>& endpoint);
    std::span<const epoll_event> met() const {
        return std::span(events_met).first(static_cast<std::size_t>(met_count));
    }
    std::optional<Clock::time_point> deadline() const;
    void take_events();
    void drop_unused_pools();
};

ConnectionPool& Client::State::pool_of(const std::shared_ptr<const Endpoint>& endpoint) {
    if (auto known = numbers.find(endpoint); known != numbers.end())
        return *pools.at(known->second).pool;
    const std::uint32_t number = ++last_number;
    auto pool = std::make_unique<ConnectionPool>(endpoint, events.number(), number);
    auto name = numbers.emplace(endpoint, number).first;
    try {
        return *pools.emplace(number, Entry{endpoint, std::move(pool)}).first->second.pool;
    } catch (...) {
        numbers.erase(name);
        throw;
    }
}

std::optional<Clock::time_point> Client::State::deadline() const {
    std::optional<Clock::time_point> next;
    for (const auto& [number, entry] : pools)
        if (auto due = entry.pool->deadline(); due && (!next || *due < *next))
            next = due;
    return next;
}

void Client::State::take_events() {
    for (const epoll_event& event : met()) {
        const std::uint64_t data = event.data.u64;
        if (auto entry = pools.find(static_cast<std::uint32_t>(data >> 32)); entry != pools.end())
            entry->second.pool->on_socket(static_cast<int>(data & 0xffffffff), event.events);
    }
    met_count = 0;
}

void Client::State::drop_unused_pools() {
    for (auto entry = pools.begin(); entry != pools.end();) {
        if (entry->second.endpoint.expired() && entry->second.pool->is_idle()) {
            numbers.erase(entry->second.endpoint);
            entry = pools.erase(entry);
        } else {
            ++entry;
        }
    }
}

Client::Client() {
    initialize_curl();
    state_ = std::make_unique<State>();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = wake_event;
    if (epoll_ctl(state_->events.number(), EPOLL_CTL_ADD, state_->woken.number(), &event) != 0)
        throw std::runtime_error("could not watch an event descriptor");
}

Client::~Client() {
    SignalsBlocked blocked;
    state_.reset();
}

Ticket Client::submit(const std::shared_ptr<const Endpoint>& endpoint, Request request) {
    state_->pool_of(endpoint).submit(state_->last_ticket + 1, std::move(request));
    ++state_->in_flight;
    return ++state_->last_ticket;
}

void Client::wait(std::optional<std::chrono::milliseconds> longest) {
    using std::chrono::milliseconds;
    if (const auto next = state_->deadline()) {
        const auto now = Clock::now();
        const auto due = std::chrono::ceil<milliseconds>(std::max(*next, now) - now);
        longest = std::min(longest.value_or(due), due);
    }
    State& state = *state_;
    const int count = epoll_wait(state.events.number(), state.events_met.data(),
                                 static_cast<int>(state.events_met.size()),
                                 longest ? static_cast<int>(longest->count()) : -1);
    state.met_count = std::max(count, 0);
    // Before the caller looks for what he was woken for: what comes after that wakes him again.
    for (const epoll_event& event : state.met())
        if (event.data.u64 == wake_event)
            clear(state.woken);
}

void Client::wake() noexcept {
    signal(state_->woken);
}

std::vector<Completion> Client::advance() {
    SignalsBlocked blocked;
    state_->take_events();
    for (auto& [number, entry] : state_->pools)
        entry.pool->advance(state_->finished);
    auto finished = std::exchange(state_->finished, {});
    state_->in_flight -= finished.size();
    state_->drop_unused_pools();
    return finished;
}

void Client::cancel(const Endpoint* endpoint) {
    SignalsBlocked blocked;
    for (auto& [number, entry] : state_->pools)
        if (entry.endpoint.lock().get() == endpoint)
            entry.pool->cancel();
}

std::vector<Ticket> Client::recall(const Endpoint* endpoint) {
    std::vector<Ticket> tickets;
    for (auto& [number, entry] : state_->pools)
        if (endpoint == nullptr || entry.endpoint.lock().get() == endpoint)
            entry.pool->recall(tickets);
    state_->in_flight -= tickets.size();
    return tickets;
}

std::size_t Client::in_flight() const noexcept {
    return state_->in_flight;
}

std::size_t Client::waiting() const noexcept {
    std::size_t count = 0;
    for (const auto& [number, entry] : state_->pools)
        count += entry.pool->waiting();
    return count;
}

}  // namespace crmsync::net
