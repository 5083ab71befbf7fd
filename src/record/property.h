// The neutral vocabulary: one row per property of an Exchange object says everything about it, for
// EWS, for Graph and for the view crmsync.properties. Nothing about a property is written twice.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace crmsync::record {

// The kinds of object a link can keep in step. Values combine into a set for properties that
// several objects share.
enum class Object : std::uint8_t { contact = 1, event = 2, task = 4 };

// The canonical text form of a value of each type:
//   text         as it is, LF line ends
//   email        an SMTP address
//   date         YYYY-MM-DD
//   timestamp    YYYY-MM-DDTHH:MM:SSZ
//   boolean      true | false
//   integer      decimal
//   choice       one of Property::choices
//   text_list    a JSON array of strings, sorted, none twice
//   binary       a description of bytes, which travel apart: see content.h
enum class Type : std::uint8_t {
    text,
    email,
    date,
    timestamp,
    boolean,
    integer,
    choice,
    text_list,
    binary
};

// Which way a value of the property may travel.
enum class Access : std::uint8_t { both, outbound, inbound };

// How EWS carries the property; see docs/properties.md.
enum class EwsForm : std::uint8_t {
    none,          // EWS has no such property, or crmsync does not carry it yet
    element,       // a simple child element with a FieldURI of its own
    body,          // item:Body, as text
    string_list,   // child elements String below one element
    entry,         // an Entry of EmailAddresses, PhoneNumbers or ImAddresses
    address_part,  // a part of an Entry of PhysicalAddresses
    extended_tag,  // ExtendedFieldURI with PropertyTag
    extended_set,  // ExtendedFieldURI with DistinguishedPropertySetId and PropertyId
    named,         // ExtendedFieldURI with our property set and the name
    photo,         // the FileAttachment that is the contact's photo
    structure      // an element with a structure of its own: recurrence, attendees, time zone
};

// Where EWS keeps the property. Which members count depends on the form.
struct Ews {
    EwsForm form = EwsForm::none;
    std::string_view container{};     // entry, address_part: the element that holds the entries
    std::string_view element{};       // element name; address_part: the name of the part
    std::string_view field_uri{};     // FieldURI; entry, address_part: of the IndexedFieldURI
    std::string_view index{};         // entry, address_part: Key and FieldIndex
    std::string_view property_set{};  // extended_set: DistinguishedPropertySetId
    std::uint32_t id = 0;             // extended_tag: PropertyTag; extended_set: PropertyId
    std::string_view type{};          // extended_*, named: PropertyType
    std::string_view choices{};       // Property::choices as EWS spells them, in the same order
};

struct Property {
    std::string_view name;  // as in SQL
    std::uint8_t objects;   // Object values, combined
    Type type;
    std::uint32_t max_length;  // characters Exchange accepts, 0 = no limit known; binary: bytes,
                               // and more are not taken
    Access access;
    bool compared;             // false: written along, never compared, never read back
    std::string_view choices;  // for Type::choice: crmsync values, comma separated
    std::string_view absent;   // the value that Exchange holds when there is none (importance)
    Ews ews;
    std::string_view graph_path;   // path below the Graph object; empty = not available there
    std::string_view description;  // one line for the view `properties`
    std::uint16_t position;        // place among all properties in the order EWS wants
};

// All properties, ordered as EWS wants their elements within one item (the schema's sequence).
std::span<const Property> properties();

// The names that the stamp, and which request made the item, have in our property set; x:NAME
// cannot be called so.
inline constexpr std::string_view stamp_name = "crmsync";
inline constexpr std::string_view attempt_name = "crmsync-attempt";

// The property with this name for this object, or nullptr. Names starting with "x:" (named string
// properties) are resolved too and live as long as the process.
const Property* find_property(std::string_view name, Object object);

// Where named properties (x:NAME) stand among the rows: with the other extended properties.
std::uint16_t named_property_position();

// True when a value only describes what has to be written apart, after the rest of the item.
constexpr bool travels_apart(const Property& property) {
    return property.type == Type::binary;
}

// True when the property belongs to the object.
constexpr bool belongs_to(const Property& property, Object object) {
    return (property.objects & static_cast<std::uint8_t>(object)) != 0;
}

std::optional<Object> object_from_name(std::string_view name);
std::string_view object_name(Object object);
std::string_view type_name(Type type);
std::string_view access_name(Access access);

// How EWS addresses the property, for people: "contacts:PhoneNumber/HomePhone", "0x3A45 String".
// Empty when EWS has no such property.
std::string ews_address(const Property& property);

}  // namespace crmsync::record
