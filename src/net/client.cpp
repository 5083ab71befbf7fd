#include "net/client.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <map>

#include "net/connection_pool.h"
#include "net/curl.h"
#include "net/descriptor.h"

namespace crmsync::net {

struct Client::State {
    struct Entry {
        std::weak_ptr<const Endpoint> endpoint;
        std::unique_ptr<ConnectionPool> pool;
    };

    Descriptor events = make_epoll();
    // By a number that is never used again, which the events carry: one that is reported after its
    // pool has gone finds nothing.
    std::map<std::uint32_t, Entry> pools;
    std::map<std::weak_ptr<const Endpoint>, std::uint32_t, std::owner_less<>> numbers;
    std::uint32_t last_number = 0;
    Ticket last_ticket = 0;
    std::size_t in_flight = 0;
    std::vector<Completion> finished;  // kept here so that an exception loses none

    ConnectionPool& pool_of(const std::shared_ptr<const Endpoint>& endpoint);
    void read_events();
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

void Client::State::read_events() {
    std::array<epoll_event, 128> batch;
    const int count = epoll_wait(events.number(), batch.data(), static_cast<int>(batch.size()), 0);
    for (int i = 0; i < count; ++i) {
        const std::uint64_t data = batch[static_cast<std::size_t>(i)].data.u64;
        auto entry = pools.find(static_cast<std::uint32_t>(data >> 32));
        if (entry != pools.end())
            entry->second.pool->on_socket(static_cast<int>(data & 0xffffffff),
                                          batch[static_cast<std::size_t>(i)].events);
    }
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

int Client::descriptor() const noexcept {
    return state_->events.number();
}

std::optional<std::chrono::milliseconds> Client::timeout() const {
    std::optional<Clock::time_point> next;
    for (const auto& [number, entry] : state_->pools)
        if (auto due = entry.pool->deadline(); due && (!next || *due < *next))
            next = due;
    if (!next)
        return std::nullopt;
    const auto now = Clock::now();
    if (*next <= now)
        return std::chrono::milliseconds(0);
    return std::chrono::ceil<std::chrono::milliseconds>(*next - now);
}

std::vector<Completion> Client::advance() {
    SignalsBlocked blocked;
    state_->read_events();
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
