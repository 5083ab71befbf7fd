#include "record/content.h"

#include <openssl/evp.h>

#include <array>
#include <charconv>

namespace crmsync::record {
namespace {

constexpr std::string_view between = ", ";
constexpr std::string_view after_size = " bytes";
constexpr std::string_view before_digest = ", sha256 ";
constexpr std::size_t digest_digits = 64;
constexpr std::size_t shown_bytes = 8;  // enough to tell what it is

struct Kind {
    std::string_view name;
    std::string_view first_bytes;  // in hexadecimal digits
};

constexpr std::array kinds{Kind{"image/jpeg", "ffd8ff"}, Kind{"image/png", "89504e470d0a1a0a"},
                           Kind{"image/gif", "474946383"}, Kind{"image/bmp", "424d"}};

std::string_view kind_of(std::string_view word) {
    for (const Kind& kind : kinds) {
        if (word == kind.name || word.starts_with(kind.first_bytes)) {
            return kind.name;
        }
    }
    return unknown_kind;
}

std::string hexadecimal(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text += digits[byte >> 4U];
        text += digits[byte & 15U];
    }
    return text;
}

std::string sha256(std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
    return {reinterpret_cast<const char*>(digest.data()), size};
}

std::optional<std::string> decoded(std::string_view base64) {
    std::string text(base64);
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    std::string bytes(text.size() / 4 * 3, '\0');
    const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
    if (text.size() % 4 != 0 || size < 0 || static_cast<std::size_t>(size) < padding) {
        return std::nullopt;
    }
    bytes.resize(static_cast<std::size_t>(size) - padding);
    return bytes;
}

}  // namespace

std::optional<Description> read_description(std::string_view text) {
    const std::size_t first = text.find(between);
    if (first == std::string_view::npos) {
        return std::nullopt;
    }
    Description description{.kind = kind_of(text.substr(0, first)), .size = 0, .digest = {}};
    text.remove_prefix(first + between.size());
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), description.size);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (error != std::errc{} || !text.starts_with(after_size)) {
        return std::nullopt;
    }
    text.remove_prefix(after_size.size());
    if (text.empty()) {
        return description;
    }
    if (!text.starts_with(before_digest)) {
        return std::nullopt;
    }
    description.digest = text.substr(before_digest.size());
    const bool is_digest =
        description.digest.size() == digest_digits &&
        description.digest.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    return is_digest ? std::optional(description) : std::nullopt;
}

std::string write_description(const Description& description) {
    std::string text(description.kind);
    text += between;
    text += std::to_string(description.size);
    text += after_size;
    if (!description.digest.empty()) {
        text += before_digest;
        text += description.digest;
    }
    return text;
}

std::optional<std::string> describe(std::string_view base64) {
    const auto bytes = decoded(base64);
    if (!bytes) {
        return std::nullopt;
    }
    const std::string digest = hexadecimal(sha256(*bytes));
    return write_description(
        {.kind = kind_of(hexadecimal(std::string_view(*bytes).substr(0, shown_bytes))),
         .size = bytes->size(),
         .digest = digest});
}

}  // namespace crmsync::record
