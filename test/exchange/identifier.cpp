#include "identifier.hpp"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <stdexcept>

namespace stand_in {

namespace {

void put(std::string& to, std::uint64_t value, int bytes) {
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
        to += static_cast<char>((value >> shift) & 0xff);
}

std::uint64_t take(std::string_view from, std::size_t at, int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i)
        value = value << 8 | static_cast<unsigned char>(from[at + static_cast<std::size_t>(i)]);
    return value;
}

void put(std::string& to, const Guid& guid) {
    to.append(reinterpret_cast<const char*>(guid.data()), guid.size());
}

Guid take_guid(std::string_view from, std::size_t at) {
    Guid guid;
    for (std::size_t i = 0; i < guid.size(); ++i)
        guid[i] = static_cast<unsigned char>(from[at + i]);
    return guid;
}

// Both kinds of id begin alike: header, the mailbox's GUID as text, a type byte, the GUID again.
constexpr std::string_view kHeader{"\x00\x03\x24\x00", 4};
constexpr std::size_t kGuidAt = 47, kFolderAt = 81, kNumberAt = 105;

std::string begin_id(const Guid& mailbox, unsigned char type) {
    std::string id(kHeader);
    id += format_guid(mailbox);
    put(id, std::uint64_t{type} << 48, 7);
    put(id, mailbox);
    put(id, 0x0700, 2);
    put(id, mailbox);
    return id;
}

std::optional<std::string> open_id(std::string_view text, std::size_t size, unsigned char type) {
    auto id = decode_base64(text);
    if (!id || id->size() != size || !std::string_view(*id).starts_with(kHeader) ||
        static_cast<unsigned char>((*id)[40]) != type)
        return std::nullopt;
    return id;
}

}  // namespace

Guid random_guid() {
    Guid guid;
    if (RAND_bytes(guid.data(), static_cast<int>(guid.size())) != 1)
        throw std::runtime_error("no random numbers");
    return guid;
}

std::string format_guid(const Guid& guid) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < guid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += digits[guid[i] >> 4];
        text += digits[guid[i] & 15];
    }
    return text;
}

namespace {

// What follows an item's id in that of an attachment, before its number.
constexpr std::string_view kAttached{"\x01\x12\x00\x10\x00", 5};
constexpr std::size_t kItemSize = 114, kAttachmentAt = kItemSize + kAttached.size();

std::string item_bytes(const ItemKey& key) {
    std::string id = begin_id(key.mailbox, 0x46);
    put(id, key.folder, 6);
    put(id, 0, 2);
    put(id, key.mailbox);
    put(id, key.number, 8);
    put(id, 0, 1);
    return id;
}

ItemKey take_item(std::string_view id) {
    return {take_guid(id, kGuidAt), static_cast<std::uint32_t>(take(id, kFolderAt, 6)),
            take(id, kNumberAt, 8)};
}

}  // namespace

std::string format_item_id(const ItemKey& key) {
    return encode_base64(item_bytes(key));
}

std::optional<ItemKey> parse_item_id(std::string_view text) {
    auto id = open_id(text, kItemSize, 0x46);
    return id ? std::optional(take_item(*id)) : std::nullopt;
}

std::string format_attachment_id(const AttachmentKey& key) {
    std::string id = item_bytes(key.item);
    id += kAttached;
    put(id, 0, 8);
    put(id, key.number, 8);
    return encode_base64(id);
}

std::optional<AttachmentKey> parse_attachment_id(std::string_view text) {
    auto id = open_id(text, kAttachmentAt + 16, 0x46);
    if (!id)
        return std::nullopt;
    return AttachmentKey{take_item(*id), take(*id, kAttachmentAt + 8, 8)};
}

std::string format_folder_id(const FolderKey& key) {
    std::string id = begin_id(key.mailbox, 0x2e);
    put(id, key.folder, 6);
    put(id, 0, 3);
    return encode_base64(id);
}

std::optional<FolderKey> parse_folder_id(std::string_view text) {
    auto id = open_id(text, 90, 0x2e);
    if (!id)
        return std::nullopt;
    return FolderKey{take_guid(*id, kGuidAt), static_cast<std::uint32_t>(take(*id, kFolderAt, 6))};
}

std::string format_change_key(const Guid& mailbox, std::uint64_t change, bool calendar) {
    std::string key;
    put(key, calendar ? 0x0f000000 : 0x11000000, 4);
    put(key, 0x16000000, 4);
    put(key, mailbox);
    put(key, change, 6);
    return encode_base64(key);
}

std::optional<std::uint64_t> parse_change_key(std::string_view text) {
    auto key = decode_base64(text);
    if (!key || key->size() != 30 || take(*key, 4, 4) != 0x16000000)
        return std::nullopt;
    return take(*key, 24, 6);
}

std::string format_sync_state(const SyncPoint& point) {
    std::string state = "sync";
    put(state, point.mailbox);
    put(state, point.folder, 4);
    for (std::uint64_t part : {point.epoch, point.change, point.number, point.end_change,
                               point.end_number, point.change_cursor, point.number_cursor})
        put(state, part, 8);
    state.append(250, '\x2a');  // as long as a real one: whoever truncates it is found out
    return encode_base64(state);
}

std::optional<SyncPoint> parse_sync_state(std::string_view text) {
    auto state = decode_base64(text);
    if (!state || state->size() != 330 || !state->starts_with("sync"))
        return std::nullopt;
    auto part = [&](std::size_t n) { return take(*state, 24 + 8 * n, 8); };
    return SyncPoint{take_guid(*state, 4),
                     static_cast<std::uint32_t>(take(*state, 20, 4)),
                     part(0),
                     part(1),
                     part(2),
                     part(3),
                     part(4),
                     part(5),
                     part(6)};
}

std::string encode_base64(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                               reinterpret_cast<const unsigned char*>(bytes.data()),
                               static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

std::optional<std::string> decode_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0)
        return std::nullopt;
    std::string bytes(text.size() / 4 * 3, '\0');
    int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                               reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()));
    if (size < 0)
        return std::nullopt;
    std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    bytes.resize(static_cast<std::size_t>(size) - padding);
    return bytes;
}

}  // namespace stand_in
