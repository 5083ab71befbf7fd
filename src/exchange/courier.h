// Carries operations to targets and their answers back, from a thread of its own: rendering, the
// network and reading answers go on while the owner waits for its database.
//
// The thread knows neither PostgreSQL nor the engine, and no signal handler ever runs in it. What
// fails in it becomes an answer, or, where that is not possible, an exception of take().
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "exchange/operation.h"
#include "net/client.h"
#include "net/descriptor.h"

namespace crmsync::exchange {

// An operation on its way; id: the owner's.
struct Parcel {
    std::uint64_t id;
    std::shared_ptr<const net::Endpoint> endpoint;
    Operation operation;
    Account account;
};

struct Delivery {
    std::uint64_t id;
    // nullopt: it has not been sent, since another request to the same endpoint failed, which its
    // sender did not know yet, or it was recalled.
    std::optional<Answer> answer;
};

class Courier {
  public:
    // Throws std::runtime_error when descriptors, libcurl or the thread cannot be had.
    Courier();
    ~Courier();
    Courier(const Courier&) = delete;
    Courier& operator=(const Courier&) = delete;

    // Never waits. Those to the same endpoint go out in this order, as many at a time as it allows.
    void send(Parcel parcel);

    // Readable when take() has something.
    int descriptor() const noexcept { return arrived_.number(); }

    // What has come back. Throws what ended the thread, after which nothing comes any more.
    std::vector<Delivery> take();

    // What has not gone out yet comes back unsent.
    void recall();

    // Sent and not yet taken.
    std::size_t under_way() const noexcept { return under_way_; }

    // Ends the thread, whatever is under way. False: it has not ended within this time, since
    // something in it waits.
    bool stop(std::chrono::milliseconds longest) noexcept;

  private:
    struct Carried {
        std::uint64_t id;
        std::shared_ptr<const net::Endpoint> endpoint;
        Operation operation;
    };

    void carry() noexcept;
    bool accept();
    void submit(Parcel parcel);
    void collect();
    void bring_back(const net::Endpoint* endpoint);
    bool may_hold_back() const;
    void deliver();

    // Of those that have not been taken over yet, with the lock. Returns how many.
    template <typename Which>
    std::size_t hand_back_if(const Which& which);
    std::size_t hand_back_unaware();

    using Endpoints = std::set<std::shared_ptr<const net::Endpoint>>;

    net::Descriptor arrived_;
    std::size_t under_way_ = 0;

    net::Client client_;

    // Of the thread alone.
    std::unordered_map<net::Ticket, Carried> carried_;
    std::vector<Delivery> done_;
    std::chrono::steady_clock::time_point done_since_{};  // the first of them
    Endpoints failed_since_;                              // of which one of them is a failure

    std::mutex shared_;  // guards what follows
    std::vector<Parcel> parcels_;
    std::vector<Delivery> deliveries_;
    Endpoints failed_;  // of which one of them is a failure
    std::exception_ptr failure_;
    bool recalled_ = false;
    bool stopping_ = false;
    bool ended_ = false;
    std::condition_variable ending_;

    std::thread thread_;  // last: all else is there when it starts
};

}  // namespace crmsync::exchange
