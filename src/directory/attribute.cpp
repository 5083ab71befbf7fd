#include "directory/attribute.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <strings.h>

#include "directory/error.h"
#include "record/text.h"

namespace crmsync::directory {

namespace {

constexpr std::string_view hexadecimal = "0123456789abcdef";

constexpr std::array guid_attributes = {
    std::string_view("objectGUID"), std::string_view("mS-DS-ConsistencyGuid"),
    std::string_view("msExchMailboxGuid"), std::string_view("schemaIDGUID")};

constexpr std::array binary_attributes = {std::string_view("jpegPhoto"),
                                          std::string_view("thumbnailPhoto"),
                                          std::string_view("thumbnailLogo"),
                                          std::string_view("photo"),
                                          std::string_view("audio"),
                                          std::string_view("userCertificate"),
                                          std::string_view("cACertificate"),
                                          std::string_view("userSMIMECertificate"),
                                          std::string_view("userPKCS12"),
                                          std::string_view("userPassword"),
                                          std::string_view("x500UniqueIdentifier"),
                                          std::string_view("logonHours"),
                                          std::string_view("sIDHistory"),
                                          std::string_view("tokenGroups"),
                                          std::string_view("nTSecurityDescriptor")};

constexpr std::size_t guid_length = 16;

// Where the bytes of the canonical text stand in the stored value.
constexpr std::array<std::uint8_t, guid_length> guid_order = {3, 2, 1,  0,  5,  4,  7,  6,
                                                              8, 9, 10, 11, 12, 13, 14, 15};

template <class Names>
bool contains(const Names& names, std::string_view name) noexcept {
    return std::any_of(names.begin(), names.end(),
                       [name](std::string_view candidate) { return same_name(candidate, name); });
}

bool is_guid(std::string_view name, std::string_view value) noexcept {
    return value.size() == guid_length && contains(guid_attributes, name);
}

bool is_sid(std::string_view name, std::string_view value) noexcept {
    return value.size() >= 8 &&
           value.size() == 8 + std::size_t{4} * static_cast<unsigned char>(value[1]) &&
           same_name(name, "objectSid");
}

void append_hexadecimal(std::string& text, unsigned char byte) {
    text += hexadecimal[byte >> 4];
    text += hexadecimal[byte & 15];
}

std::string guid_text(std::string_view bytes) {
    std::string text;
    for (std::size_t i = 0; i < guid_length; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text += '-';
        }
        append_hexadecimal(text, static_cast<unsigned char>(bytes[guid_order[i]]));
    }
    return text;
}

std::uint64_t number(std::string_view bytes, bool big_endian) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        value =
            value << 8 | static_cast<unsigned char>(bytes[big_endian ? i : bytes.size() - 1 - i]);
    }
    return value;
}

// MS-DTYP 2.4.2.2: revision, count, six bytes of authority (big-endian), then sub-authorities of
// four bytes each (little-endian).
std::string sid_text(std::string_view bytes) {
    std::string text = "S-" + std::to_string(static_cast<unsigned char>(bytes[0])) + "-" +
                       std::to_string(number(bytes.substr(2, 6), true));
    for (std::size_t at = 8; at < bytes.size(); at += 4) {
        text += "-" + std::to_string(number(bytes.substr(at, 4), false));
    }
    return text;
}

}  // namespace

std::string_view base_name(std::string_view name) noexcept {
    return name.substr(0, name.find(';'));
}

bool same_name(std::string_view left, std::string_view right) noexcept {
    return left.size() == right.size() && strncasecmp(left.data(), right.data(), left.size()) == 0;
}

bool is_utf8(std::string_view text) noexcept {
    while (!text.empty()) {
        // Nearly all is ASCII, and there is much of it.
        const auto byte = static_cast<unsigned char>(text.front());
        const record::Decoded next = byte < 0x80 ? record::Decoded{byte, 1} : record::decode(text);
        if (next.character == record::no_character || next.character == U'\0') {
            return false;
        }
        text.remove_prefix(next.length);
    }
    return true;
}

bool is_plain_text(std::string_view name, std::string_view value) noexcept {
    const std::string_view base = base_name(name);
    return !is_guid(base, value) && !is_sid(base, value) && !contains(binary_attributes, base) &&
           is_utf8(value);
}

std::string value_text(std::string_view name, std::string_view value) {
    const std::string_view base = base_name(name);
    if (is_guid(base, value)) {
        return guid_text(value);
    }
    if (is_sid(base, value)) {
        return sid_text(value);
    }
    if (!contains(binary_attributes, base) && is_utf8(value)) {
        return std::string(value);
    }
    std::string text = "\\x";
    text.reserve(2 + 2 * value.size());
    for (const char byte : value) {
        append_hexadecimal(text, static_cast<unsigned char>(byte));
    }
    return text;
}

std::string guid_filter_value(std::string_view uuid) {
    std::string digits;
    std::copy_if(uuid.begin(), uuid.end(), std::back_inserter(digits),
                 [](char c) { return c != '-'; });
    std::array<unsigned char, guid_length> bytes{};
    bool valid = digits.size() == 2 * guid_length;
    for (std::size_t i = 0; valid && i < guid_length; ++i) {
        const char* pair = digits.data() + 2 * i;
        valid = std::from_chars(pair, pair + 2, bytes[guid_order[i]], 16).ptr == pair + 2;
    }
    if (!valid) {
        throw Error(ErrorKind::configuration, "\"" + std::string(uuid) + "\" is not a uuid");
    }
    std::string text;
    for (const unsigned char byte : bytes) {
        text += '\\';
        append_hexadecimal(text, byte);
    }
    return text;
}

std::string escape_filter_value(std::string_view value) {
    const bool valid = is_utf8(value);
    std::string text;
    for (const char c : value) {
        const bool special = c == '*' || c == '(' || c == ')' || c == '\\' || c == '\0';
        if (special || (!valid && static_cast<unsigned char>(c) >= 0x80)) {
            text += '\\';
            append_hexadecimal(text, static_cast<unsigned char>(c));
        } else {
            text += c;
        }
    }
    return text;
}

}  // namespace crmsync::directory
