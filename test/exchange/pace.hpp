// Simulated service time: sleeping in the connection's thread, without burning the processor.
#pragma once

#include <chrono>

namespace stand_in {

/// Returns `milliseconds` after `start`; at once when that is past or 0.
void sleep_until(std::chrono::steady_clock::time_point start, double milliseconds);

}  // namespace stand_in
