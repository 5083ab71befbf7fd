// One value between its canonical text and the text that EWS wants.
#pragma once

#include <string>
#include <string_view>

#include "record/record.h"

namespace crmsync::exchange::ews {

// `value` is canonical and not empty. Dates become 11:59 UTC: 12 h later, which is how they are
// read back, it is still the same day, and no time zone from -11 to +12 shows another one.
std::string to_wire(const record::Property& property, const std::string& value);

// What a server wrote, in canonical form; absent when it means nothing.
record::Value from_wire(const record::Property& property, std::string_view text);

}  // namespace crmsync::exchange::ews
