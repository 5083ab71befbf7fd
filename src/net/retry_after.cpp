#include "net/retry_after.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace crmsync::net {

namespace {

constexpr double longest_seconds = 24 * 60 * 60;

std::optional<double> read_seconds(const std::string& text) {
    double number = 0;
    const char* end = text.data() + text.size();
    auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
    if (error == std::errc::result_out_of_range)
        return longest_seconds;
    if (error != std::errc() || rest != end || !std::isfinite(number) || number < 0)
        return std::nullopt;
    return number;
}

std::string trimmed(const std::string& text) {
    auto first = text.find_first_not_of(" \t");
    if (first == std::string::npos)
        return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_retry_after(const std::string& value,
                                                           std::time_t now) {
    std::string text = trimmed(value);
    std::optional<double> pause = read_seconds(text);
    // A date has letters. curl_getdate is generous and takes "-5" or "1.5.2" for one.
    if (!pause && text.find(':') != std::string::npos) {
        std::time_t date = curl_getdate(text.c_str(), nullptr);
        if (date != -1)
            pause = std::max(0.0, std::difftime(date, now));
    }
    if (!pause)
        return std::nullopt;
    return std::chrono::milliseconds(std::llround(std::min(*pause, longest_seconds) * 1000));
}

}  // namespace crmsync::net
