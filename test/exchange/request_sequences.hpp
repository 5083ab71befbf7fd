// Sequences, required attributes and enumerations of the requests that are answered here.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace stand_in {

struct SequenceChild {
    std::string_view names;  ///< a|b|c where the schema has a choice
    bool repeats = false;
};

struct Sequence {
    std::string_view element;
    std::vector<SequenceChild> children;
};

struct AttributeRule {
    std::string_view element, attribute;
    bool required = false;
    std::string_view values = {};  ///< a|b|c, empty for any
};

/// The sequence of an element's children, or null when it is not checked.
const Sequence* sequence_of(std::string_view element);

/// What is checked of its attributes.
std::span<const AttributeRule> attribute_rules_of(std::string_view element);

/// Enumeration of an element's text as a|b|c; empty when it is not checked.
std::string_view values_of(std::string_view element);

}  // namespace stand_in
