#include "date_time.hpp"

#include <atomic>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace stand_in {

namespace {

std::atomic<long> ahead_seconds{0};

/// Reads exactly `width` digits.
bool digits(std::string_view& text, std::size_t width, int& value) {
    if (text.size() < width)
        return false;
    auto [end, error] = std::from_chars(text.data(), text.data() + width, value);
    if (error != std::errc{} || end != text.data() + width || value < 0)
        return false;
    text.remove_prefix(width);
    return true;
}

bool literal(std::string_view& text, char expected) {
    if (text.empty() || text.front() != expected)
        return false;
    text.remove_prefix(1);
    return true;
}

void skip_fraction(std::string_view& text) {
    if (!literal(text, '.'))
        return;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9')
        text.remove_prefix(1);
}

std::optional<std::chrono::minutes> zone(std::string_view text) {
    if (text.empty() || text == "Z")
        return std::chrono::minutes(0);
    int sign = text.front() == '-' ? -1 : 1;
    if (text.front() != '+' && text.front() != '-')
        return std::nullopt;
    text.remove_prefix(1);
    int hours = 0, minutes = 0;
    if (!digits(text, 2, hours) || !literal(text, ':') || !digits(text, 2, minutes) ||
        !text.empty() || hours > 14 || minutes > 59)
        return std::nullopt;
    return std::chrono::minutes(sign * (hours * 60 + minutes));
}

}  // namespace

std::optional<Instant> parse_date_time(std::string_view text) {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (!digits(text, 4, year) || !literal(text, '-') || !digits(text, 2, month) ||
        !literal(text, '-') || !digits(text, 2, day) || !literal(text, 'T') ||
        !digits(text, 2, hour) || !literal(text, ':') || !digits(text, 2, minute) ||
        !literal(text, ':') || !digits(text, 2, second))
        return std::nullopt;
    skip_fraction(text);
    auto offset = zone(text);
    std::chrono::year_month_day date{std::chrono::year(year),
                                     std::chrono::month(static_cast<unsigned>(month)),
                                     std::chrono::day(static_cast<unsigned>(day))};
    if (!offset || !date.ok() || hour > 23 || minute > 59 || second > 59)
        return std::nullopt;
    return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
           std::chrono::seconds(second) - *offset;
}

std::string format_date_time(Instant when) {
    auto day = std::chrono::floor<std::chrono::days>(when);
    std::chrono::year_month_day date(day);
    std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(when - day));
    char text[40];
    std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02dZ", int(date.year()),
                  unsigned(date.month()), unsigned(date.day()), int(time.hours().count()),
                  int(time.minutes().count()), int(time.seconds().count()));
    return text;
}

std::optional<std::string> normalise_date_time(std::string_view text) {
    auto parsed = parse_date_time(text);
    if (!parsed)
        return std::nullopt;
    return format_date_time(*parsed);
}

Instant now() {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()) +
           std::chrono::seconds(ahead_seconds);
}

void shift_clock(std::chrono::seconds ahead) {
    ahead_seconds = ahead.count();
}

std::string http_date() {
    std::time_t seconds = std::chrono::system_clock::to_time_t(now());
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[40];
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return text;
}

}  // namespace stand_in
