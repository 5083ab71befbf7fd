#include "exchange/courier.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "exchange/ews/protocol.h"
#include "net/curl.h"

namespace crmsync::exchange {

namespace {

using Clock = std::chrono::steady_clock;

// To wake the owner costs more than to read an answer: while there is enough to send he is woken
// for several at once.
constexpr auto longest_held_back = std::chrono::milliseconds(5);

}  // namespace

Courier::Courier() : arrived_(net::make_event()) {
    const net::SignalsBlocked blocked;
    thread_ = std::thread([this] { carry(); });
}

Courier::~Courier() {
    while (!stop(std::chrono::hours(1))) {
    }
}

bool Courier::stop(std::chrono::milliseconds longest) noexcept {
    if (!thread_.joinable()) {
        return true;
    }
    std::unique_lock lock(shared_);
    stopping_ = true;
    client_.wake();
    if (!ending_.wait_for(lock, longest, [this] { return ended_; })) {
        return false;
    }
    lock.unlock();
    thread_.join();
    return true;
}

void Courier::send(Parcel parcel) {
    bool is_first = false;
    {
        const std::lock_guard lock(shared_);
        is_first = parcels_.empty();
        parcels_.push_back(std::move(parcel));
    }
    ++under_way_;
    if (is_first) {
        client_.wake();
    }
}

void Courier::recall() {
    {
        const std::lock_guard lock(shared_);
        hand_back_if([](const Parcel&) { return true; });
        recalled_ = true;
    }
    net::signal(arrived_);
    client_.wake();
}

std::vector<Delivery> Courier::take() {
    net::clear(arrived_);
    std::vector<Delivery> deliveries;
    {
        const std::lock_guard lock(shared_);
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        hand_back_unaware();
        failed_.clear();
        deliveries.swap(deliveries_);
    }
    under_way_ -= deliveries.size();
    return deliveries;
}

template <typename Which>
std::size_t Courier::hand_back_if(const Which& which) {
    return std::erase_if(parcels_, [&](const Parcel& parcel) {
        const bool back = which(parcel);
        if (back) {
            deliveries_.push_back({parcel.id, std::nullopt});
        }
        return back;
    });
}

// Whoever has sent them did not know yet that another one failed.
std::size_t Courier::hand_back_unaware() {
    return hand_back_if([this](const Parcel& parcel) { return failed_.contains(parcel.endpoint); });
}

// ---- the thread -----------------------------------------------------------------------------

void Courier::carry() noexcept {
    try {
        while (accept()) {
            collect();
            if (!may_hold_back()) {
                deliver();
            }
            client_.wait(done_.empty() ? std::nullopt : std::optional(longest_held_back));
        }
    } catch (...) {
        const std::lock_guard lock(shared_);
        failure_ = std::current_exception();
        net::signal(arrived_);
    }
    const std::lock_guard lock(shared_);
    ended_ = true;
    ending_.notify_all();
}

// False: it is time to stop.
bool Courier::accept() {
    std::vector<Parcel> parcels;
    bool recalled = false;
    {
        const std::lock_guard lock(shared_);
        if (stopping_) {
            return false;
        }
        if (hand_back_unaware() > 0) {
            net::signal(arrived_);
        }
        parcels.swap(parcels_);
        recalled = std::exchange(recalled_, false);
    }
    if (recalled) {
        bring_back(nullptr);
    }
    for (Parcel& parcel : parcels) {
        submit(std::move(parcel));
    }
    return true;
}

void Courier::submit(Parcel parcel) {
    try {
        net::Request request = ews::render(parcel.operation, parcel.account);
        request.session = parcel.account.mailbox;
        request.repeatable = only_reads(parcel.operation);
        const net::Ticket ticket = client_.submit(parcel.endpoint, std::move(request));
        carried_.emplace(
            ticket, Carried{parcel.id, std::move(parcel.endpoint), std::move(parcel.operation)});
    } catch (const std::exception& error) {
        Answer refused;
        refused.failure = {Disposition::bisect, "REQUEST", error.what()};
        done_.push_back({parcel.id, std::move(refused)});
    }
}

namespace {

// Whose token the token server has just issued is known there: the server that refuses it may do so
// in passing, and no account is locked by asking again.
void note_voucher(const net::Endpoint& endpoint, Failure& failure) {
    if (endpoint.auth == net::Auth::oauth2 && failure.disposition == Disposition::credentials &&
        failure.code.starts_with("HTTP-")) {
        failure.disposition = Disposition::target_broken;
        failure.message += ", although the token server issued a token for them";
    }
}

}  // namespace

void Courier::collect() {
    if (done_.empty()) {
        done_since_ = Clock::now();
    }
    for (const net::Completion& completion : client_.advance()) {
        auto carried = carried_.extract(completion.ticket);
        if (carried.empty()) {
            continue;
        }
        Answer answer = ews::read(carried.mapped().operation, completion.response);
        if (answer.failure) {
            note_voucher(*carried.mapped().endpoint, *answer.failure);
            bring_back(carried.mapped().endpoint.get());
            failed_since_.insert(std::move(carried.mapped().endpoint));
        }
        done_.push_back({carried.mapped().id, std::move(answer)});
    }
}

// What a failure means is for the owner to say, before more goes there than has begun already.
void Courier::bring_back(const net::Endpoint* endpoint) {
    for (const net::Ticket ticket : client_.recall(endpoint)) {
        done_.push_back({carried_.extract(ticket).mapped().id, std::nullopt});
    }
}

// Not when the connections could run out of requests before the owner has sent more, and no
// failure.
bool Courier::may_hold_back() const {
    return !done_.empty() && failed_since_.empty() && 2 * client_.waiting() > client_.in_flight() &&
           Clock::now() - done_since_ < longest_held_back;
}

void Courier::deliver() {
    if (done_.empty()) {
        return;
    }
    {
        const std::lock_guard lock(shared_);
        std::move(done_.begin(), done_.end(), std::back_inserter(deliveries_));
        failed_.merge(failed_since_);
    }
    done_.clear();
    failed_since_.clear();
    net::signal(arrived_);
}

}  // namespace crmsync::exchange
