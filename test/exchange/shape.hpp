// ItemShape: which properties of an item an answer shows, and writing them in the schema's order.
#pragma once

#include "mailbox.hpp"

#include <pugixml.hpp>

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace stand_in {

class Shape {
  public:
    /// Where the shape is used. Only GetItem answers bodies by a base shape; SyncFolderItems does
    /// when the body is named, FindItem refuses that (ErrorInvalidPropertyRequest).
    enum class Use { get, find, sync };

    /// `as_guid`: see write_extended. Throws ItemError for properties that cannot be asked for.
    Shape(pugi::xml_node item_shape, Use use, bool as_guid);

    /// Appends the item to `parent` (m:Items, t:Create ...). Hold the mailbox's mutex.
    void write(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
               const Item& item) const;

  private:
    enum class Base { id_only, normal, all };

    bool wants(const Row& row) const;
    bool wants_member(const Row& row, SlotId id) const;
    void write_row(pugi::xml_node to, const Row& row, const Mailbox& mailbox, const Folder& folder,
                   const Item& item) const;
    void write_body(pugi::xml_node to, const Row& row, const PropertyBag& values) const;
    void write_emails(pugi::xml_node to, const Row& row, const PropertyBag& values) const;
    void write_entries(pugi::xml_node to, const Row& row, const PropertyBag& values) const;
    void write_addresses(pugi::xml_node to, const Row& row, const PropertyBag& values) const;
    void write_extended_all(pugi::xml_node to, const PropertyBag& values) const;

    Base base_ = Base::all;
    Use use_;
    bool as_guid_;
    std::string body_type_;
    std::unordered_set<std::string> uris_;
    std::unordered_set<SlotId> members_;
    std::vector<std::pair<SlotId, pugi::xml_node>> extended_;
};

/// Appends t:ItemId of an item.
void write_item_id(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                   const Item& item);

/// Appends t:FileAttachment without its content.
pugi::xml_node write_attachment(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                                const Item& item, const Attachment& attachment);

}  // namespace stand_in
