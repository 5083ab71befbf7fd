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
//   text_list    a JSON array of strings
//   binary       base64
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

// How EWS addresses the property on the wire; see docs/properties.md.
enum class EwsForm : std::uint8_t {
    none,              // EWS has no such property, or crmsync does not carry it yet
    element,           // a simple child element with a FieldURI of its own
    body,              // item:Body, as text
    email_entry,       // an Entry of EmailAddresses
    phone_entry,       // an Entry of PhoneNumbers
    address_part,      // a part of an Entry of PhysicalAddresses
    string_list,       // child elements String below one element
    extended_tag,      // ExtendedFieldURI with PropertyTag
    extended_set,      // ExtendedFieldURI with DistinguishedPropertySetId and PropertyId
    named,             // ExtendedFieldURI with our property set and the name
    photo              // the FileAttachment that is the contact's photo
};

struct Property {
    std::string_view name;      // as in SQL
    std::uint8_t objects;       // Object values, combined
    Type type;
    std::uint32_t max_length;   // characters Exchange accepts; 0 = no limit known
    Access access;
    std::string_view choices;   // for Type::choice: crmsync values, comma separated
    EwsForm ews_form;
    std::string_view ews_element;  // element name, Entry key, or "tag:0x3A45:String"-like address
    std::string_view ews_field;    // FieldURI, without the FieldIndex
    std::string_view ews_choices;  // the values of `choices` in the same order as EWS spells them
    std::string_view graph_path;   // path below the Graph object; empty = not available there
    std::string_view description;  // one line for the view `properties`
    bool compared;                 // false: written along, never compared, never read back
};

// All properties, ordered as EWS wants their elements within one item.
std::span<const Property> properties();

// The property with this name for this object, or nullptr. Names starting with "x:" (named string
// properties) are resolved too and live as long as the process.
const Property* find_property(std::string_view name, Object object);

std::optional<Object> object_from_name(std::string_view name);
std::string_view object_name(Object object);

}  // namespace crmsync::record
