// Text that may cross to the other side: valid UTF-8 without the characters that XML 1.0 cannot
// carry (section 2.2 of the recommendation: C0 controls but tab, LF and CR, lone surrogates,
// U+FFFE and U+FFFF).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace crmsync::record {

// Why this text cannot be sent, in words for the user; nullopt: it can.
std::optional<std::string> text_problem(std::string_view text);

// The text with every part that text_problem would object to replaced by U+FFFD, cut between two
// characters so that it has at most `limit` bytes.
std::string cleaned(std::string_view text, std::size_t limit = std::string::npos);

// Without white space (blank, tab, CR, LF) at both ends.
std::string_view trimmed(std::string_view text);

// CRLF and CR become LF.
std::string with_line_feeds(std::string_view text);

// Letters A to Z in lower case, everything else as it is.
std::string lower_ascii(std::string_view text);

// True when XML 1.0 allows the character.
constexpr bool xml_character(char32_t c) {
    return c >= 0x20
               ? c <= 0xD7FF || (c >= 0xE000 && c <= 0xFFFD) || (c >= 0x10000 && c <= 0x10FFFF)
               : c == '\t' || c == '\n' || c == '\r';
}

constexpr char32_t no_character = 0xFFFFFFFF;

struct Decoded {
    char32_t character;  // no_character: not UTF-8
    std::size_t length;  // bytes to step over
};

// The character at the start of `rest`, which is not empty. Overlong forms, surrogates and values
// past U+10FFFF are no UTF-8 (RFC 3629, section 3).
Decoded decode(std::string_view rest);

// Whether a database in UTF-8 can hold the text, be it that XML cannot carry it.
bool is_storable(std::string_view text);

// Appends the character as UTF-8.
void append_utf8(std::string& text, char32_t c);

}  // namespace crmsync::record
