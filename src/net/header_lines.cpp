#include "net/header_lines.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace crmsync::net {

namespace {

// RFC 9110, 5.6.2.
bool is_token_character(char c) {
    constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           marks.find(c) != std::string_view::npos;
}

bool is_control_character(char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

// libcurl leaves out a header without a value unless it is spelled "Name;".
std::string checked(const std::string& line) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || colon == 0 ||
        !std::all_of(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(colon),
                     is_token_character))
        throw std::invalid_argument("a request header is not of the form \"Name: value\"");
    if (std::any_of(line.begin(), line.end(), is_control_character))
        throw std::invalid_argument("the request header \"" + line.substr(0, colon) +
                                    "\" contains a line break or another control character");
    if (line.find_first_not_of(" \t", colon + 1) == std::string::npos)
        return line.substr(0, colon) + ";";
    return line;
}

}  // namespace

List make_header_list(const std::vector<std::string>& lines) {
    List list;
    for (const std::string& line : lines)
        append(list, checked(line));
    // libcurl would wait up to a second for "100 Continue" before it sends a large body.
    append(list, "Expect:");
    return list;
}

}  // namespace crmsync::net
