// Growing pauses between attempts, with jitter so that many waiters do not come back together.
#pragma once

#include <chrono>
#include <optional>

namespace crmsync::net {

struct BackOff {
    std::chrono::milliseconds first{1'000};              // after the first failure
    std::chrono::milliseconds longest{5 * 60'000};       // doubling stops here
    std::chrono::milliseconds longest_asked{3'600'000};  // what a server may ask for at most
};

// The pause after the `failures`-th failure in a row (1, 2, ...): `first`, doubled with each
// further failure up to `longest`, of which `random`, a number in [0, 1), takes away up to a half.
// A server that asked for a delay is never tried earlier than that, and up to a tenth later.
std::chrono::milliseconds pause_after(
    int failures, const BackOff& back_off, double random,
    std::optional<std::chrono::milliseconds> asked = std::nullopt);

}  // namespace crmsync::net
