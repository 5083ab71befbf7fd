#include "net/probation.h"

#include <algorithm>

namespace crmsync::net {

namespace {

// Who asks is looked at first: a server that has not refused for so long most likely does what it
// was asked, and a mailbox that hangs must not keep the others. Each further one waits twice as
// long, so that a server that is slow to refuse meets three or four.
constexpr std::chrono::seconds first_pause{2};

// In a longer silence a password may have been changed.
constexpr std::chrono::seconds longest_silence{10};

}  // namespace

bool Probation::is_over(Time now) const noexcept {
    return accepted_ && now - *accepted_ < longest_silence;
}

Probation::Time Probation::next_start(Time now, std::size_t under_way) const noexcept {
    return under_way == 0 || is_over(now) ? now : std::max(now, last_start_ + pause_);
}

void Probation::begin(Time now, std::size_t under_way) noexcept {
    pause_ = under_way == 0 || is_over(now) ? first_pause : 2 * pause_;
    last_start_ = now;
}

void Probation::accepted(Time began, Time now) noexcept {
    if (began >= refused_) {
        accepted_ = now;
    }
}

void Probation::refused(Time now) noexcept {
    accepted_.reset();
    refused_ = now;
}

}  // namespace crmsync::net
