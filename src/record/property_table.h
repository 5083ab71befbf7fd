// The rows behind properties(); everybody else includes record/property.h.
#pragma once

#include <span>

#include "record/property.h"

namespace crmsync::record {

// The rows, in the order of the schema's sequence, their positions filled in.
std::span<const Property> property_rows();

}  // namespace crmsync::record
