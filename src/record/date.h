// Dates and times as the two sides spell them: PostgreSQL's ISO output and XML Schema's dateTime.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace crmsync::record {

// A point in time as it was written. Without a zone the reader decides what it means.
struct WrittenTime {
    std::chrono::sys_seconds local;                // as written, the zone not applied
    std::optional<std::chrono::seconds> offset{};  // east of UTC
    bool date_only = false;

    std::chrono::sys_seconds utc() const {
        return local - offset.value_or(std::chrono::seconds{0});
    }
};

// Reads "2025-07-02", "2025-07-02Z", "2025-07-02 11:59:00.5+02", "2025-07-02T11:59:00Z" and the
// like; years 0001 to 9999, fractions of a second are dropped. nullopt: anything else, also dates
// that do not exist.
std::optional<WrittenTime> read_time(std::string_view text);

std::string date_text(std::chrono::sys_days day);              // YYYY-MM-DD
std::string timestamp_text(std::chrono::sys_seconds instant);  // YYYY-MM-DDTHH:MM:SSZ

// Days that mean "no date" in Exchange: 1601-01-01 (zero of its clock) and 4501-01-01 (Outlook).
bool means_no_date(std::chrono::sys_days day);

}  // namespace crmsync::record
