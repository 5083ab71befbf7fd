// One value between its canonical text and the text that EWS wants.
#pragma once

#include <string>
#include <string_view>

#include "record/value.h"

namespace crmsync::exchange::ews {

// There is a value, and nobody can tell which.
extern const record::Canonical unreadable;

// `value` is canonical and not empty. Dates become 11:59 UTC: 12 h later, which is how they are
// read back, it is still the same day, and no time zone from -11 to +12 shows another one.
std::string to_wire(const record::Property& property, const std::string& value);

// What a server wrote, in canonical form; a problem when it is no value of the property's type.
record::Canonical from_wire(const record::Property& property, std::string_view text);

// How Exchange calls its own users among themselves (RoutingType EX): nobody can write to that.
bool is_directory_name(std::string_view address);

}  // namespace crmsync::exchange::ews
