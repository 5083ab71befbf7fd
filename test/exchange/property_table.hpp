// The properties of Exchange items, one row each, in the order of the schema's sequences.
//
// A class (Contact, CalendarItem, Task, Message) is the rows of ItemType followed by its own. A row
// says how its element is called, how it is stored, who may write it and what the server answers
// while nothing is stored. Adding an item class or a property is adding rows here.
//
// What is stored has a slot: a small number naming one value of an item. Simple rows have one
// slot, dictionaries (e-mail addresses, telephone numbers ...) one for each key and part, and
// extended properties get theirs when they are first seen (see extended_property.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace stand_in {

using SlotId = std::uint16_t;
inline constexpr SlotId kNoSlot = 0;

enum class Kind : std::uint8_t {
    text,
    boolean,
    integer,
    number,
    date_time,
    choice,
    body,       // text plus the attribute BodyType, which has a slot of its own
    strings,    // t:String children; stored joined by kJoin
    xml,        // stored as the serialised element
    emails,     // dictionary
    phones,     // dictionary
    ims,        // dictionary
    addresses,  // dictionary of parts
    extended,   // repeated ExtendedProperty
    computed,   // answered by the server, stored nowhere
    unused,     // known to the schema, not kept here
};

/// Separates the members of multi-valued properties; not a legal XML character, so never data.
inline constexpr char kJoin = '\x1f';

/// What a client may do with a property.
inline constexpr unsigned kRead = 0, kCreate = 1, kSet = 2, kDelete = 4, kAll = 7;

struct Row {
    std::string_view element;
    Kind kind = Kind::unused;
    unsigned rights = kRead;
    std::string_view mapi = {};     ///< key of the same value as an extended property, or empty
    std::size_t limit = 0;          ///< longest text in characters, 0 = no limit
    std::string_view choices = {};  ///< a|b|c for Kind::choice
    const char* initial = nullptr;  ///< answered while nothing is stored; nullptr: no element
    std::string uri = {};           ///< FieldURI, filled in from the class's prefix
    SlotId slot = kNoSlot;          ///< filled in for rows with a single slot
};

struct ItemClass {
    std::string_view element;       ///< element name on the wire, e.g. Contact
    std::string_view item_class;    ///< e.g. IPM.Contact
    std::string_view folder_class;  ///< what the folder must be, e.g. IPF.Contact
    std::string_view wrong_folder;  ///< response code when it is not
    std::vector<Row> rows;

    /// Index of the element in the sequence, or -1.
    int position(std::string_view element_name) const;
    const Row* by_uri(std::string_view uri) const;
};

/// One stored value of an item.
struct Slot {
    std::string uri = {};    ///< FieldURI, or the key of an extended property
    std::string index = {};  ///< FieldIndex for members of dictionaries
    Kind kind = Kind::text;
    unsigned rights = kAll;
    std::size_t limit = 0;
    std::string choices = {};
    std::string type = {};  ///< PropertyType of an extended property, else empty
};

const std::vector<ItemClass>& item_classes();
const ItemClass* class_by_element(std::string_view element);

/// Is this FieldURI in the schema's enumeration (as far as items and folders go)?
bool known_field_uri(std::string_view uri);

/// Slot of an unindexed FieldURI; kNoSlot when it has none of its own.
SlotId slot_of(std::string_view uri);
/// Slot of an IndexedFieldURI; kNoSlot when URI or index is not in the schema.
SlotId slot_of(std::string_view uri, std::string_view index);
/// Slot of an extended property, registered when new. Thread-safe.
SlotId slot_of_extended(std::string_view key, std::string_view type);
/// The row of a slot. The reference stays valid.
const Slot& slot(SlotId id);

// Members of the dictionaries, in the order in which the server lists them.
const std::vector<std::string_view>& email_keys();
const std::vector<std::string_view>& phone_keys();
const std::vector<std::string_view>& im_keys();
const std::vector<std::string_view>& address_keys();
const std::vector<std::string_view>& address_parts();

/// PSETID_Address, the property set of the named properties of contacts.
inline constexpr std::string_view kAddressSet = "00062004-0000-0000-c000-000000000046";

}  // namespace stand_in
