#include "restriction.hpp"

#include "date_time.hpp"
#include "directory.hpp"
#include "errors.hpp"
#include "extended_property.hpp"
#include "soap.hpp"

#include <charconv>

namespace stand_in {

namespace {

std::optional<double> as_number(std::string_view text) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

bool is_kind(const Operand& operand, Kind kind) {
    return operand.slot != kNoSlot && slot(operand.slot).kind == kind;
}

bool is_time(const Operand& operand) {
    return is_kind(operand, Kind::date_time) || operand.uri.starts_with("item:DateTime") ||
           operand.uri == "item:LastModifiedTime" ||
           (operand.slot != kNoSlot && slot(operand.slot).type == "SystemTime");
}

}  // namespace

Operand read_operand(pugi::xml_node path) {
    std::string_view kind = local_name(path);
    if (kind == "ExtendedFieldURI")
        return {slot_of_path(path), {}};
    std::string uri = path.attribute("FieldURI").value();
    if (kind == "IndexedFieldURI")
        return {slot_of(uri, path.attribute("FieldIndex").value()), {}};
    return {slot_of(uri), uri};
}

Restriction::Restriction(pugi::xml_node search) : operation_(local_name(search)) {
    if (operation_ == "And" || operation_ == "Or" || operation_ == "Not") {
        for (pugi::xml_node part : search.children())
            if (part.type() == pugi::node_element)
                parts_.emplace_back(part);
        return;
    }
    if (operation_ == "Excludes")
        throw ItemError{"ErrorUnsupportedQueryFilter", "Excludes is not supported here."};
    pugi::xml_node path = first_element(search);
    if (!path)
        throw ItemError{"ErrorInvalidRestriction", "The restriction names no property."};
    operand_ = read_operand(path);
    mode_ = search.attribute("ContainmentMode").as_string("FullString");
    comparison_ = search.attribute("ContainmentComparison").as_string("Exact");
    pugi::xml_node right = child(search, "FieldURIOrConstant");
    pugi::xml_node constant = child(right ? right : search, "Constant");
    if (constant)
        constant_ = constant.attribute("Value").value();
    else if (right)
        other_ = read_operand(first_element(right));
    else if (operation_ != "Exists")
        throw ItemError{"ErrorInvalidRestriction", "The restriction has no value."};
    if (is_time(operand_))
        constant_ = normalise_date_time(constant_).value_or(constant_);
}

bool Restriction::matches(const Lookup& lookup) const {
    if (operation_ == "Not")
        return !parts_.front().matches(lookup);
    if (operation_ == "And" || operation_ == "Or") {
        bool all = operation_ == "And";
        for (const Restriction& part : parts_)
            if (part.matches(lookup) != all)
                return !all;
        return all;
    }
    if (operation_ == "Exists")
        return lookup(operand_).has_value();
    if (operation_ == "Contains") {
        auto value = lookup(operand_);
        return value && contains(*value);
    }
    return compare(lookup);
}

bool Restriction::compare(const Lookup& lookup) const {
    auto left = lookup(operand_);
    auto right = other_ ? lookup(*other_) : std::optional(constant_);
    if (!left || !right)
        return operation_ == "IsNotEqualTo" && left != right;
    int order = compare_values(*left, *right);
    if (operation_ == "IsEqualTo")
        return order == 0;
    if (operation_ == "IsNotEqualTo")
        return order != 0;
    if (operation_ == "IsGreaterThan")
        return order > 0;
    if (operation_ == "IsGreaterThanOrEqualTo")
        return order >= 0;
    if (operation_ == "IsLessThan")
        return order < 0;
    return order <= 0;
}

bool Restriction::contains(const std::string& value) const {
    bool fold = comparison_.find("IgnoreCase") != std::string::npos ||
                comparison_.find("Loose") != std::string::npos;
    std::string wanted = fold ? lower_case(constant_) : constant_;
    bool found = false;
    each_member(value, [&](std::string_view member) {
        std::string text = fold ? lower_case(member) : std::string(member);
        if (mode_ == "FullString")
            found |= text == wanted;
        else if (mode_ == "Prefixed")
            found |= text.starts_with(wanted);
        else if (mode_ == "PrefixOnWords")
            found |= text.starts_with(wanted) || text.find(" " + wanted) != std::string::npos;
        else
            found |= text.find(wanted) != std::string::npos;
    });
    return found;
}

int compare_values(std::string_view a, std::string_view b) {
    auto x = as_number(a), y = as_number(b);
    if (x && y && a != b)
        return *x < *y ? -1 : *x > *y;
    int order = a.compare(b);
    return order < 0 ? -1 : order > 0;
}

}  // namespace stand_in
