#include "pace.hpp"

#include <ctime>

namespace stand_in {

void sleep_until(std::chrono::steady_clock::time_point start, double milliseconds) {
    if (milliseconds <= 0)
        return;
    // steady_clock is CLOCK_MONOTONIC; an absolute time is not prolonged by interruptions.
    auto wake = start + std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::duration<double, std::milli>(milliseconds));
    auto since_epoch = wake.time_since_epoch();
    auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    timespec until{static_cast<time_t>(seconds.count()),
                   static_cast<long>((since_epoch - seconds).count())};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) {
    }
}

}  // namespace stand_in
