// The rules are few and by name: what depends on what is Exchange's behaviour, not a property's
// row.
#include "record/names.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace crmsync::record {
namespace {

constexpr std::array<std::string_view, 5> name_parts{"given_name", "middle_name", "surname",
                                                     "suffix", "title"};

constexpr std::array<std::string_view, 3> whole_addresses{"business_address", "home_address",
                                                          "other_address"};

bool name_part(std::string_view name) {
    return std::find(name_parts.begin(), name_parts.end(), name) != name_parts.end();
}

std::string_view find(const Layout& layout, const std::vector<Value>& values,
                      std::string_view name) {
    for (std::size_t i = 0; i < layout.size() && i < values.size(); ++i) {
        if (layout[i]->name == name && values[i]) {
            return *values[i];
        }
    }
    return {};
}

void append(std::string& text, std::string_view separator, std::string_view part) {
    if (!part.empty()) {
        if (!text.empty()) {
            text += separator;
        }
        text += part;
    }
}

}  // namespace

Value file_as_from(const Layout& layout, const std::vector<Value>& values) {
    const auto get = [&](std::string_view name) { return find(layout, values, name); };
    std::string given(get("given_name"));
    append(given, " ", get("middle_name"));
    std::string filed(get("surname"));
    append(filed, ", ", given);
    for (const std::string_view other : {"company", "display_name", "email_1"}) {
        if (filed.empty()) {
            filed = get(other);
        }
    }
    return filed.empty() ? Value{} : Value{std::move(filed)};
}

bool written_along_with(const Property& dependent, const Property& written) {
    if (dependent.name == "file_as" || dependent.name == "display_name") {
        return name_part(written.name);
    }
    if (dependent.name.starts_with("email_") && dependent.name.ends_with("_name")) {
        return dependent.name.substr(0, dependent.name.size() - 5) == written.name;
    }
    if (std::find(whole_addresses.begin(), whole_addresses.end(), dependent.name) !=
        whole_addresses.end()) {
        const auto kind = dependent.name.substr(0, dependent.name.find('_') + 1);
        return written.ews.form == EwsForm::address_part && written.name.starts_with(kind);
    }
    return false;
}

bool files_the_contact(const Property& property) {
    return property.name == "given_name" || property.name == "middle_name" ||
           property.name == "surname" || property.name == "file_as";
}

}  // namespace crmsync::record
