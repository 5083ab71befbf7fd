// What one row of the CRM says, and what both sides last agreed on, as plain values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "record/property.h"

namespace crmsync::record {

// The canonical text of a property's value (see Type); absent when there is none. The empty string
// and absence are the same thing in Exchange, so an empty value is always stored as absent.
using Value = std::optional<std::string>;

// In the place of a value that an item has and that means nothing to us, where it matters that
// there is one (see take_as_agreed).
inline constexpr std::string_view cannot_be_read = "(cannot be read)";

inline bool is_unknown(const Value& value) {
    return value == cannot_be_read;
}

// What our tables hold of a key: an index has no room for more than some 2700 bytes. The trigger
// knows the same limit.
constexpr std::size_t longest_kept_key = 1000;

// Which properties a link maps, in the order of the mapped values of its records.
using Layout = std::vector<const Property*>;

// Where in a layout a property stands; nullopt: it is not mapped.
inline std::optional<std::size_t> place_of(const Layout& layout, const Property* property) {
    const auto at = std::find(layout.begin(), layout.end(), property);
    return at == layout.end() ? std::nullopt
                              : std::optional(static_cast<std::size_t>(at - layout.begin()));
}

struct Record {
    std::string key;
    std::vector<Value> values;  // parallel to the link's Layout
};

// One property to write. An absent value removes the property from the item.
struct Field {
    const Property* property;
    Value value;
};

using Fields = std::vector<Field>;

// Fields of a record that go to many mailboxes: held by all, changed by nobody.
class SharedFields {
  public:
    SharedFields() = default;
    SharedFields(Fields fields) : fields_(std::make_shared<const Fields>(std::move(fields))) {}

    operator const Fields&() const { return get(); }
    const Fields& get() const { return fields_ ? *fields_ : none_; }

  private:
    static inline const Fields none_;
    std::shared_ptr<const Fields> fields_;
};

}  // namespace crmsync::record
