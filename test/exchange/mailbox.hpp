// A mailbox: its folders, their items, and the order in which they changed.
//
// Every write takes the next number of the mailbox's change counter. That number is the item's
// change key, and each folder keeps its items and its removals in the order of it: what a
// SyncState still lacks is what comes after the number that the state holds.
//
// Nothing in here locks by itself: hold `mutex` while using a mailbox's content.
#pragma once

#include "date_time.hpp"
#include "identifier.hpp"
#include "property_bag.hpp"
#include "property_table.hpp"

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace stand_in {

/// A file attached to an item.
struct Attachment {
    std::uint64_t number = 0;  ///< part of the id
    std::string name, content_type, content;
    bool is_contact_photo = false;
    Instant modified{};
};

struct Item {
    std::uint64_t number = 0;  ///< part of the id; rises with every arrival, also by a move
    const ItemClass* item_class = nullptr;
    PropertyBag values;
    std::uint64_t change = 0;  ///< the change key
    Instant created{}, modified{};

    std::vector<Attachment> attachments;

    std::size_t bytes() const {
        std::size_t sum = 200 + values.bytes();
        for (const Attachment& attachment : attachments)
            sum += attachment.content.size();
        return sum;
    }
};

struct Folder {
    std::uint32_t number = 0, parent = 0;
    std::string name;
    std::string folder_class;   ///< IPF.Contact ...
    std::string distinguished;  ///< contacts, calendar ..., empty for folders made by clients
    std::uint64_t change = 0, arrival = 0;
    PropertyBag values;  ///< extended properties
    std::map<std::uint64_t, Item> items;
    std::map<std::uint64_t, std::uint64_t> changes;   ///< change number -> item number
    std::map<std::uint64_t, std::uint64_t> removals;  ///< change number -> item that left
};

class Mailbox {
  public:
    explicit Mailbox(std::string address);

    std::mutex mutex;

    const Guid guid;
    std::string address;
    std::uint64_t quota = std::numeric_limits<std::uint64_t>::max();  ///< bytes
    std::uint64_t used = 0;                                           ///< bytes
    std::uint64_t item_limit = 36u << 20;  ///< bytes of an item with its attachments
    std::uint64_t epoch = 1;  ///< of sync states; raising it makes all older ones invalid
    bool deny_impersonation = false;
    std::atomic<int> in_flight{0}, most_in_flight{0};  ///< requests at the same time

    std::map<std::uint32_t, Folder> folders;
    std::map<std::uint64_t, std::uint32_t> removed_folders;  ///< change number -> folder

    Folder* folder(std::uint32_t number);
    Folder* distinguished(std::string_view name);
    Folder* child_folder(std::uint32_t parent, std::string_view name);
    Folder& create_folder(std::uint32_t parent, std::string name, std::string folder_class,
                          std::string distinguished = {});
    /// Removes a folder, the folders below it, and all their items.
    void remove_folder(std::uint32_t number);

    Item* item(const ItemKey& key);
    /// Puts a new item into a folder. Throws ItemError (ErrorQuotaExceeded).
    Item& add(Folder& folder, Item item);
    /// Records that an item's values were replaced. Throws ItemError (ErrorQuotaExceeded).
    void replace(Folder& folder, Item& item, PropertyBag values);
    /// Attaches a file; returns its number. Throws ItemError (ErrorMessageSizeExceeded,
    /// ErrorQuotaExceeded).
    std::uint64_t attach(Folder& folder, Item& item, Attachment attachment);
    void detach(Folder& folder, Item& item, std::uint64_t number);
    void remove(Folder& folder, std::uint64_t number);
    /// Moves an item; it gets another number, so another id.
    Item& move(Folder& from, std::uint64_t number, Folder& to);

    std::uint64_t next_change() { return ++change_; }
    std::uint64_t next_attachment() { return ++last_attachment_; }
    std::uint64_t last_change() const { return change_; }
    std::uint64_t last_number() const { return last_number_; }
    ItemKey key(const Folder& folder, const Item& item) const;
    std::size_t count_items() const;

  private:
    void check_quota(std::uint64_t added) const;
    void touch(Folder& folder, Item& item);

    std::uint64_t change_ = 0, last_number_ = 0, last_attachment_ = 0;
    std::uint32_t last_folder_ = 0;
};

}  // namespace stand_in
