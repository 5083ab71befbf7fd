// What Exchange does by itself after a write: derived names, composed addresses, task states.
#pragma once

#include "item_change.hpp"
#include "property_bag.hpp"

namespace stand_in {

/// Completes the values of an item after `changes` were applied to them.
/// Throws ItemError where the result is impossible (an appointment that ends before it starts).
void after_write(PropertyBag& values, const ItemClass& item_class, const Changes& changes,
                 bool is_new);

/// Given, middle and last name and suffix, as DisplayName and CompleteName/FullName show them.
std::string full_name(const PropertyBag& values);

}  // namespace stand_in
