// What the server refuses before it looks at the request: illegal XML, wrong element order.
//
// Holds without the schema files. It knows the sequences of the requests that are answered here
// and of the item classes, the required attributes, the enumerations that clients get wrong, and
// the simple types of item properties. --schema checks everything (see schema.hpp).
#pragma once

#include <pugixml.hpp>

#include <string_view>

namespace stand_in {

/// Throws SoapFault (ErrorSchemaValidation) for bytes that are no XML 1.0: control characters,
/// broken UTF-8, references to illegal characters.
void check_characters(std::string_view source);

/// Throws SoapFault (ErrorSchemaValidation) with line, position and violation.
/// `source` is the text that `envelope` was parsed from.
void check_request(pugi::xml_node envelope, std::string_view source);

}  // namespace stand_in
