// Restrictions of FindItem and FindFolder, compiled once and asked per item.
#pragma once

#include "property_table.hpp"

#include <pugixml.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace stand_in {

/// What a restriction may ask of an item or a folder.
struct Operand;
using Lookup = std::function<std::optional<std::string>(const Operand&)>;

/// A property as restrictions and sort orders name it.
struct Operand {
    SlotId slot = kNoSlot;
    std::string uri;  ///< set for an unindexed FieldURI; computed properties have no slot
};

/// Reads FieldURI, IndexedFieldURI or ExtendedFieldURI.
Operand read_operand(pugi::xml_node path);

class Restriction {
  public:
    /// `search` is the one child of m:Restriction. Throws ItemError (ErrorInvalidRestriction).
    explicit Restriction(pugi::xml_node search);

    bool matches(const Lookup& lookup) const;

  private:
    bool compare(const Lookup& lookup) const;
    bool contains(const std::string& value) const;

    std::string operation_;
    std::vector<Restriction> parts_;
    Operand operand_;
    std::optional<Operand> other_;
    std::string constant_, mode_, comparison_;
};

/// Three-way comparison of stored texts; by number where both are numbers.
int compare_values(std::string_view a, std::string_view b);

}  // namespace stand_in
