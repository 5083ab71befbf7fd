#include "net/back_off.h"

#include <algorithm>
#include <cmath>

namespace crmsync::net {

std::chrono::milliseconds pause_after(int failures, const BackOff& back_off, double random,
                                      std::optional<std::chrono::milliseconds> asked) {
    using std::chrono::milliseconds;
    const double doubled =
        static_cast<double>(back_off.first.count()) * std::exp2(std::clamp(failures - 1, 0, 60));
    const double full = std::min(doubled, static_cast<double>(back_off.longest.count()));
    milliseconds pause(std::llround(full * (1 - random / 2)));
    if (!asked)
        return pause;
    const milliseconds delay =
        std::clamp(*asked, milliseconds(0), std::max(back_off.longest_asked, milliseconds(0)));
    const milliseconds late(std::llround(static_cast<double>(delay.count()) * random / 10));
    return std::max(pause, delay + late);
}

}  // namespace crmsync::net
