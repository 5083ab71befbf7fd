// When a server that has yet to accept our credentials may be asked the next thing. Directories
// lock an account after a few failed logons: so one request tries the credentials, and the others
// follow as soon as it is answered. No I/O.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

namespace crmsync::net {

class Probation {
  public:
    using Time = std::chrono::steady_clock::time_point;

    // When another request may begin beside those that are under way.
    Time next_start(Time now, std::size_t under_way) const noexcept;

    void begin(Time now, std::size_t under_way) noexcept;

    // One that began then was answered. What began before a refusal says nothing of what is after.
    void accepted(Time began, Time now) noexcept;
    void refused(Time now) noexcept;

  private:
    bool is_over(Time now) const noexcept;

    std::optional<Time> accepted_;
    Time refused_{};
    Time last_start_{};
    std::chrono::milliseconds pause_{0};  // until the next start, whatever is under way
};

}  // namespace crmsync::net
