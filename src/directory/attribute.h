// What attribute values mean: text forms of binary values, names with options, and the
// escaping of values in filters. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace crmsync::directory {

// The name without its options, which start at the first ';' (RFC 4512, 2.5): member;range=0-1499
// and jpegPhoto;binary are member and jpegPhoto.
std::string_view base_name(std::string_view name) noexcept;

// Attribute names compare without regard to case (RFC 4512, 2.5).
bool same_name(std::string_view left, std::string_view right) noexcept;

// A value as text for the CRM:
//   objectGUID and other GUIDs of Active Directory   the canonical text of a uuid; the first three
//                                                    groups are stored little-endian
//                                                    (MS-DTYP 2.3.4)
//   objectSid                                        S-1-5-... (MS-DTYP 2.4.2)
//   anything that is not UTF-8, or a known binary    \x and hexadecimal digits, which PostgreSQL's
//   attribute such as jpegPhoto                      bytea reads
//   else                                             as it is
std::string value_text(std::string_view name, std::string_view value);

// True when value_text would return the value unchanged, so that it need not be copied.
bool is_plain_text(std::string_view name, std::string_view value) noexcept;

// The key attribute's text form back into what a filter needs, each byte as \xx (RFC 4515).
// Throws Error (configuration) when the text is not a uuid.
std::string guid_filter_value(std::string_view uuid);

// A value escaped for a filter (RFC 4515, 3).
std::string escape_filter_value(std::string_view value);

// Well-formed UTF-8 without NUL (RFC 3629), which is what PostgreSQL can hold.
bool is_utf8(std::string_view text) noexcept;

}  // namespace crmsync::directory
