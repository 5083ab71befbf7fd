// Ids and change keys in the shape of a real server's: opaque base64 of 152, 120 and 40 characters.
//
// An item's id holds its mailbox, folder and number, so it changes when the item moves; a folder's
// does not. Only an id made by this server for this mailbox is accepted.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace stand_in {

using Guid = std::array<unsigned char, 16>;

Guid random_guid();
std::string format_guid(const Guid& guid);

struct ItemKey {
    Guid mailbox{};
    std::uint32_t folder = 0;
    std::uint64_t number = 0;
};

/// A file attached to an item.
struct AttachmentKey {
    ItemKey item;
    std::uint64_t number = 0;
};

struct FolderKey {
    Guid mailbox{};
    std::uint32_t folder = 0;
};

/// What a SyncState says; `epoch` changes when a mailbox's states are made invalid.
/// The client has everything up to `change` and `number`; within a walk of several pages also what
/// lies before the cursors, and the walk ends at `end_change` and `end_number`.
struct SyncPoint {
    Guid mailbox{};
    std::uint32_t folder = 0;
    std::uint64_t epoch = 0;
    std::uint64_t change = 0, number = 0;
    std::uint64_t end_change = 0, end_number = 0;  ///< 0: no walk under way
    std::uint64_t change_cursor = 0, number_cursor = 0;
};

std::string format_item_id(const ItemKey& key);
std::optional<ItemKey> parse_item_id(std::string_view id);

std::string format_attachment_id(const AttachmentKey& key);
std::optional<AttachmentKey> parse_attachment_id(std::string_view id);

std::string format_folder_id(const FolderKey& key);
std::optional<FolderKey> parse_folder_id(std::string_view id);

/// `calendar` items have another first byte, as on real servers.
std::string format_change_key(const Guid& mailbox, std::uint64_t change, bool calendar = false);
std::optional<std::uint64_t> parse_change_key(std::string_view key);

std::string format_sync_state(const SyncPoint& point);
std::optional<SyncPoint> parse_sync_state(std::string_view state);

std::string encode_base64(std::string_view bytes);
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace stand_in
