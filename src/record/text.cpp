// One walk over UTF-8 serves the judging and the cleaning of text.
#include "record/text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace crmsync::record {

Decoded decode(std::string_view rest) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(rest[i]); };
    const std::uint8_t first = byte(0);
    if (first < 0x80) {
        return {first, 1};
    }
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) {
        return {no_character, 1};
    }
    char32_t character = first & (0xFF >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if (i >= rest.size() || (byte(i) & 0xC0) != 0x80) {
            return {no_character, i};
        }
        character = (character << 6) | (byte(i) & 0x3F);
    }
    constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = character >= 0xD800 && character <= 0xDFFF;
    if (character < smallest[length] || character > 0x10FFFF || surrogate) {
        return {no_character, length};
    }
    return {character, length};
}

namespace {

// Whether eight bytes are plain printable ASCII, or 0x7F. The subtraction borrows from no
// neighbour, since the highest bit of every byte is set before it, and is still set where a byte is
// not below 0x20.
bool is_plain(const char* eight) {
    constexpr std::uint64_t ones = 0x0101010101010101;
    constexpr std::uint64_t highest = 0x80 * ones;
    std::uint64_t word = 0;
    std::memcpy(&word, eight, sizeof word);
    return ((~word & ((word | highest) - 0x20 * ones)) & highest) == highest;
}

bool is_good(const Decoded& decoded) {
    return decoded.character != no_character && xml_character(decoded.character);
}

// Bytes from the start that can be carried in XML as they are: nearly always all there are, and
// nearly all of them plain.
std::size_t good_prefix(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.size() - at >= sizeof(std::uint64_t) && is_plain(text.data() + at)) {
            at += sizeof(std::uint64_t);
            continue;
        }
        const auto byte = static_cast<std::uint8_t>(text[at]);
        if (byte >= 0x20 && byte < 0x80) {
            ++at;
            continue;
        }
        const Decoded next = decode(text.substr(at));
        if (!is_good(next)) {
            break;
        }
        at += next.length;
    }
    return at;
}

bool space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

std::optional<std::string> text_problem(std::string_view text) {
    const std::size_t at = good_prefix(text);
    if (at == text.size()) {
        return std::nullopt;
    }
    const char32_t character = decode(text.substr(at)).character;
    char words[96];
    if (character == no_character) {
        std::snprintf(words, sizeof words, "byte %zu (0x%02X) is not valid UTF-8", at + 1,
                      static_cast<unsigned>(static_cast<std::uint8_t>(text[at])));
    } else {
        std::snprintf(words, sizeof words,
                      "the character U+%04X at byte %zu cannot be carried in XML",
                      static_cast<unsigned>(character), at + 1);
    }
    return words;
}

bool is_storable(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const Decoded next = decode(text.substr(at));
        if (next.character == no_character || next.character == 0) {
            return false;
        }
        at += next.length;
    }
    return true;
}

std::string cleaned(std::string_view text, std::size_t limit) {
    if (text.size() <= limit && good_prefix(text) == text.size()) {
        return std::string(text);
    }
    std::string result;
    std::size_t at = 0;
    while (at < text.size() && result.size() < limit) {
        const Decoded next = decode(text.substr(at));
        std::string character;
        append_utf8(character, is_good(next) ? next.character : U'\uFFFD');
        if (result.size() + character.size() > limit) {
            break;
        }
        result += character;
        at += next.length;
    }
    return result;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && space(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && space(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

std::string with_line_feeds(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\r') {
            result += text[i];
        } else if (i + 1 == text.size() || text[i + 1] != '\n') {
            result += '\n';
        }
    }
    return result;
}

std::string lower_ascii(std::string_view text) {
    std::string result(text);
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') {
            c = static_cast<char>(c - 'A' + 'a');
        }
    }
    return result;
}

void append_utf8(std::string& text, char32_t c) {
    const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
    if (c < 0x80) {
        text += static_cast<char>(c);
    } else if (c < 0x800) {
        text += static_cast<char>(0xC0 | (c >> 6));
        tail(0);
    } else if (c < 0x10000) {
        text += static_cast<char>(0xE0 | (c >> 12));
        tail(6);
        tail(0);
    } else {
        text += static_cast<char>(0xF0 | (c >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

}  // namespace crmsync::record
