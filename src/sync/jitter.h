// The random part of a pause, so that many waiters do not come back together.
#pragma once

#include <random>

namespace crmsync::sync {

// One for the process; a test that wants to repeat itself seeds it.
inline std::minstd_rand& jitter_source() {
    static std::minstd_rand generator{std::random_device{}()};
    return generator;
}

// A number in [0, 1), as net::pause_after() wants it.
inline double jitter() {
    return std::uniform_real_distribution<double>(0, 1)(jitter_source());
}

}  // namespace crmsync::sync
