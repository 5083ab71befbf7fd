// Percent-encoding as in RFC 3986, section 2.1, of the few characters that need it.
#include "exchange/stamp.h"

#include <charconv>
#include <cstdint>
#include <cstdio>

namespace crmsync::exchange {
namespace {

void append_encoded(std::string& text, std::string_view part) {
    for (const char c : part) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (byte <= 0x20 || byte == 0x7F || c == '%' || c == '/') {
            char encoded[8];
            std::snprintf(encoded, sizeof encoded, "%%%02X", static_cast<unsigned>(byte));
            text += encoded;
        } else {
            text += c;
        }
    }
}

std::optional<std::string> decoded(std::string_view part) {
    std::string text;
    for (std::size_t i = 0; i < part.size(); ++i) {
        if (part[i] != '%') {
            text += part[i];
            continue;
        }
        if (part.size() - i < 3) {
            return std::nullopt;
        }
        std::uint8_t byte = 0;
        const char* const digits = part.data() + i + 1;
        if (std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) {
            return std::nullopt;
        }
        text += static_cast<char>(byte);
        i += 2;
    }
    return text;
}

}  // namespace

std::string stamp_text(const Stamp& stamp) {
    std::string text;
    append_encoded(text, stamp.instance);
    text += '/';
    append_encoded(text, stamp.link);
    text += '/';
    append_encoded(text, stamp.key);
    return text;
}

std::optional<Stamp> read_stamp(std::string_view text) {
    const std::size_t first = text.find('/');
    const std::size_t second = first == text.npos ? text.npos : text.find('/', first + 1);
    if (second == text.npos || text.find('/', second + 1) != text.npos) {
        return std::nullopt;
    }
    auto instance = decoded(text.substr(0, first));
    auto link = decoded(text.substr(first + 1, second - first - 1));
    auto key = decoded(text.substr(second + 1));
    if (!instance || !link || !key) {
        return std::nullopt;
    }
    Stamp stamp{std::move(*instance), std::move(*link), std::move(*key)};
    return stamp_text(stamp) == text ? std::optional(std::move(stamp)) : std::nullopt;
}

}  // namespace crmsync::exchange
