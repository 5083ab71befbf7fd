// Strict reading from left to right; the calendar itself is std::chrono's.
#include "record/date.h"

#include <cstdio>

namespace crmsync::record {
namespace {

using namespace std::chrono;

// Consumes text from the left.
class Reader {
  public:
    explicit Reader(std::string_view text) : rest_(text) {}

    bool at_end() const { return rest_.empty(); }

    bool accept(char c) {
        if (rest_.empty() || rest_.front() != c) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }

    // Exactly `digits` digits, at most `maximum`.
    std::optional<int> number(int digits, int maximum) {
        if (rest_.size() < static_cast<std::size_t>(digits)) {
            return std::nullopt;
        }
        int value = 0;
        for (int i = 0; i < digits; ++i) {
            const char c = rest_[static_cast<std::size_t>(i)];
            if (c < '0' || c > '9') {
                return std::nullopt;
            }
            value = value * 10 + (c - '0');
        }
        rest_.remove_prefix(static_cast<std::size_t>(digits));
        return value <= maximum ? std::optional(value) : std::nullopt;
    }

    bool skip_fraction() {
        if (!accept('.')) {
            return true;
        }
        bool any = false;
        while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
            rest_.remove_prefix(1);
            any = true;
        }
        return any;
    }

  private:
    std::string_view rest_;
};

std::optional<sys_days> read_day(Reader& reader) {
    const auto y = reader.number(4, 9999);
    if (!y || !reader.accept('-')) {
        return std::nullopt;
    }
    const auto m = reader.number(2, 12);
    if (!m || !reader.accept('-')) {
        return std::nullopt;
    }
    const auto d = reader.number(2, 31);
    if (!d || *y == 0) {
        return std::nullopt;
    }
    const year_month_day day{year{*y}, month{static_cast<unsigned>(*m)},
                             std::chrono::day{static_cast<unsigned>(*d)}};
    return day.ok() ? std::optional(sys_days{day}) : std::nullopt;
}

// Seconds may be missing after the minutes, as in "11:59".
std::optional<seconds> read_clock(Reader& reader) {
    const auto h = reader.number(2, 24);
    if (!h || !reader.accept(':')) {
        return std::nullopt;
    }
    const auto m = reader.number(2, 59);
    if (!m) {
        return std::nullopt;
    }
    int s = 0;
    if (reader.accept(':')) {
        const auto read = reader.number(2, 60);
        if (!read || !reader.skip_fraction()) {
            return std::nullopt;
        }
        s = *read;
    }
    if (*h == 24 && (*m != 0 || s != 0)) {
        return std::nullopt;
    }
    return hours{*h} + minutes{*m} + seconds{s};
}

// "Z", "+02", "+0200", "+02:00", "+02:00:30"; false: not a zone. No zone at all is fine.
bool read_zone(Reader& reader, std::optional<seconds>& offset) {
    if (reader.at_end()) {
        return true;
    }
    if (reader.accept('Z') || reader.accept('z')) {
        offset = seconds{0};
        return reader.at_end();
    }
    const bool west = reader.accept('-');
    if (!west && !reader.accept('+')) {
        return false;
    }
    const auto h = reader.number(2, 15);
    if (!h) {
        return false;
    }
    seconds total = hours{*h};
    for (int unit = 60; unit >= 1 && !reader.at_end(); unit /= 60) {
        reader.accept(':');
        const auto part = reader.number(2, 59);
        if (!part) {
            return false;
        }
        total += seconds{*part * unit};
    }
    offset = west ? -total : total;
    return reader.at_end();
}

}  // namespace

std::optional<WrittenTime> read_time(std::string_view text) {
    Reader reader(text);
    const auto day = read_day(reader);
    if (!day) {
        return std::nullopt;
    }
    WrittenTime result{.local = *day};
    if (reader.accept('T') || reader.accept('t') || reader.accept(' ')) {
        const auto clock = read_clock(reader);
        if (!clock) {
            return std::nullopt;
        }
        result.local += *clock;
    } else {
        result.date_only = true;
    }
    return read_zone(reader, result.offset) ? std::optional(result) : std::nullopt;
}

std::string date_text(sys_days day) {
    const year_month_day date{day};
    char text[32];
    std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
    return text;
}

std::string timestamp_text(sys_seconds instant) {
    const auto day = floor<days>(instant);
    const hh_mm_ss clock{instant - day};
    char text[32];
    std::snprintf(text, sizeof text, "T%02d:%02d:%02dZ", static_cast<int>(clock.hours().count()),
                  static_cast<int>(clock.minutes().count()),
                  static_cast<int>(clock.seconds().count()));
    return date_text(day) + text;
}

bool means_no_date(sys_days day) {
    return day == sys_days{year{1601} / 1 / 1} || day == sys_days{year{4501} / 1 / 1};
}

}  // namespace crmsync::record
