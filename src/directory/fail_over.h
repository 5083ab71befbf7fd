// Several servers, or addresses of one, of which any will do.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "directory/error.h"
#include "directory/socket.h"

namespace crmsync::directory {

// Of many, each gets so much time at least: a good server, too, needs some to answer.
constexpr std::chrono::seconds least_share{5};

// An equal share of what is left of the time; or the least share, as long as that leaves half of
// the time to the others.
inline Clock::duration share_of(Clock::duration left, int candidates) {
    left = std::max(left, Clock::duration::zero());
    return std::max(left / candidates, std::min<Clock::duration>(left / 2, least_share));
}

// Which of several errors is told.
enum class Told {
    first,    // the first candidate is the one that was wanted
    answered  // the first of somebody who answered, if anybody did: of the addresses of a name one
              // often leads nowhere
};

// Calls attempt(candidate, deadline) for one after the other until one succeeds. Each gets a share
// of the time: one that swallows everything uses up all that it is given. A server that has
// answered and refused the log-on is the last: to knock at each with a wrong password would lock
// the account. Throws an Error when none succeeds.
template <class Candidates, class Attempt>
void try_in_turn(const Candidates& candidates, Clock::time_point deadline, Attempt attempt,
                 Told told = Told::first) {
    std::optional<Error> failure;
    auto left = static_cast<int>(candidates.size());
    for (const auto& candidate : candidates) {
        const auto now = Clock::now();
        try {
            attempt(candidate, now + share_of(deadline - now, left--));
            return;
        } catch (const Error& error) {
            if (!concerns_server(error.kind()) || error.kind() == ErrorKind::credentials) {
                throw;
            }
            const bool nobody_answered = failure && failure->kind() == ErrorKind::connect;
            if (!failure || (told == Told::answered && nobody_answered)) {
                failure.emplace(error);
            }
        }
    }
    throw Error(*failure);
}

}  // namespace crmsync::directory
