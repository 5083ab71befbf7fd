// pugixml does the reading; what it lets pass is caught before and after.
#include "exchange/ews/xml.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

// A page of 1,000 items, or 100 whole contacts, stays far below; what is above would cost hundreds
// of megabytes as a tree.
constexpr std::ptrdiff_t most_tags = 1'000'000;
constexpr std::ptrdiff_t most_attributes = 1'000'000;

struct Reference {
    char32_t character;
    std::size_t length;
};

// The numeric character reference that `text` begins with.
std::optional<Reference> numeric_reference(std::string_view text) {
    if (!text.starts_with("&#")) {
        return std::nullopt;
    }
    const bool hexadecimal = text.size() > 2 && text[2] == 'x';
    const std::size_t digits = hexadecimal ? 3 : 2;
    std::uint32_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + std::min(digits, text.size()), end,
                                               number, hexadecimal ? 16 : 10);
    if (stop == end || *stop != ';' || error == std::errc::invalid_argument) {
        return std::nullopt;
    }
    const bool too_big = error == std::errc::result_out_of_range;
    return Reference{too_big ? char32_t{0xFFFFFFFF} : char32_t{number},
                     static_cast<std::size_t>(stop - text.data()) + 1};
}

// Copies the body, with the references repaired that pugixml would take literally: a zero ends its
// text, halves of a surrogate pair become invalid UTF-8.
std::string repaired(std::string_view body) {
    std::string result;
    result.reserve(body.size() + 1);
    while (!body.empty()) {
        const std::size_t at = std::min(body.find("&#"), body.size());
        result.append(body.substr(0, at));
        body.remove_prefix(at);
        const auto reference = numeric_reference(body);
        if (!reference) {
            const std::size_t keep = std::min<std::size_t>(body.size(), 2);
            result.append(body.substr(0, keep));
            body.remove_prefix(keep);
            continue;
        }
        const char32_t first = reference->character;
        std::size_t length = reference->length;
        if (record::xml_character(first)) {
            result.append(body.substr(0, length));
        } else {
            char32_t character = 0xFFFD;
            const auto second = first >= 0xD800 && first <= 0xDBFF
                                    ? numeric_reference(body.substr(length))
                                    : std::nullopt;
            if (second && second->character >= 0xDC00 && second->character <= 0xDFFF) {
                character = 0x10000 + ((first - 0xD800) << 10) + (second->character - 0xDC00);
                length += second->length;
            }
            record::append_utf8(result, character);
        }
        body.remove_prefix(length);
    }
    return result;
}

}  // namespace

std::string_view local_name(pugi::xml_node node) {
    const std::string_view name = node.name();
    const std::size_t colon = name.find(':');
    return colon == name.npos ? name : name.substr(colon + 1);
}

pugi::xml_node child(pugi::xml_node parent, std::string_view name) {
    return *children(parent, name).begin();
}

std::string text_of(pugi::xml_node node) {
    std::string text;
    for (pugi::xml_node part : node) {
        if (part.type() == pugi::node_pcdata || part.type() == pugi::node_cdata) {
            text += part.value();
        }
    }
    return text;
}

bool parse(std::string_view body, pugi::xml_document& document, std::string& problem) {
    if (std::count(body.begin(), body.end(), '<') > most_tags ||
        std::count(body.begin(), body.end(), '=') > most_attributes) {
        problem = "the answer has too many elements";
        return false;
    }
    const std::string text = repaired(body);
    const auto result = document.load_buffer(text.data(), text.size(), pugi::parse_default);
    if (!result) {
        problem = std::string(result.description()) + " at byte " + std::to_string(result.offset);
    }
    return static_cast<bool>(result);
}

}  // namespace crmsync::exchange::ews
