// Properties that follow from others: the name a contact is sorted by, and what has to be written
// again because Exchange recomputes it.
#pragma once

#include "record/record.h"

namespace crmsync::record {

// "Surname, Given Middle" as Outlook files contacts; without names the company, the display name or
// the first e-mail address; absent when there is none of these.
Value file_as_from(const Layout& layout, const std::vector<Value>& values);

// True when `dependent` must be written again because `written` is: names for file_as and
// display_name, an e-mail address for the name shown with it, the parts of an address for the
// whole.
bool written_along_with(const Property& dependent, const Property& written);

// True when writing this property always writes file_as as well.
bool files_the_contact(const Property& property);

}  // namespace crmsync::record
