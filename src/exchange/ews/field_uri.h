// How a property is named on the wire: FieldURI, IndexedFieldURI, ExtendedFieldURI.
#pragma once

#include <pugixml.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "record/property.h"

namespace crmsync::exchange::ews {

// The property set of everything that is named by us: the stamp, the attempt and x:NAME.
inline constexpr const char* own_property_set = "7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42";

// True when EWS carries the property in a way that this build writes and reads.
bool carried(const record::Property& property);

// True for the forms that travel as ExtendedProperty.
bool is_extended(const record::Property& property);

// Appends the element that addresses the property. The property must be `carried`.
void add_field_uri(pugi::xml_node parent, const record::Property& property);

// Appends the ExtendedFieldURI of the stamp, or of the attempt that made the item.
void add_stamp_uri(pugi::xml_node parent);
void add_attempt_uri(pugi::xml_node parent);

// Appends the ExtendedFieldURIs of a field that users or other programs have defined, which keep
// numbers as numbers or as text.
void add_user_field_uris(pugi::xml_node parent, const std::string& name);

// True when this ExtendedFieldURI, as a server wrote it, names the property, the stamp, the
// attempt or the user-defined field. Servers may name a property set by its GUID that was asked for
// by its word, and write numbers either way.
bool names_property(pugi::xml_node extended_field_uri, const record::Property& property);
bool names_stamp(pugi::xml_node extended_field_uri);
bool names_attempt(pugi::xml_node extended_field_uri);
bool names_user_field(pugi::xml_node extended_field_uri, std::string_view name);

// A property of the property set of contacts that belongs to another one.
struct Companion {
    std::uint32_t id;
    const char* type;
};

// What has to be removed beside the Entry so that an e-mail address is gone: address type, address
// and original names are properties of their own (PidLidEmail1DisplayName and its neighbours).
std::span<const Companion> email_group(std::string_view entry_key);

// Where the SMTP address stands for which the Entry has another kind of address; nullptr: the
// property is no e-mail address.
const Companion* original_address(const record::Property& property);

// Where Outlook keeps the same day once more, without a time zone, and looks first; others know
// nothing of it (PidLidBirthdayLocal, PidLidWeddingAnniversaryLocal).
std::span<const Companion> local_day(const record::Property& property);

bool names_companion(pugi::xml_node extended_field_uri, const Companion& property);
void add_companion_uri(pugi::xml_node parent, const Companion& property);

}  // namespace crmsync::exchange::ews
