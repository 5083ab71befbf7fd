// xs:dateTime and xs:date as Exchange reads and writes them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace stand_in {

using Instant = std::chrono::sys_time<std::chrono::milliseconds>;

/// Reads an xs:dateTime; a value without zone counts as UTC. Empty when it is not one.
std::optional<Instant> parse_date_time(std::string_view text);

/// As Exchange answers: UTC, whole seconds, trailing Z.
std::string format_date_time(Instant when);

/// parse and format in one; empty when the text is not an xs:dateTime.
std::optional<std::string> normalise_date_time(std::string_view text);

/// The server's clock, which tests may put wrong.
Instant now();
void shift_clock(std::chrono::seconds ahead);

/// The same as HTTP's Date header has it.
std::string http_date();

}  // namespace stand_in
