// Attribute combinations follow PathToExtendedFieldType of types.xsd.
#include "exchange/ews/field_uri.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "exchange/ews/request.h"

namespace crmsync::exchange::ews {
namespace {

using record::Ews;
using record::EwsForm;

// PSETID_Address of [MS-OXPROPS], section 1.3.2.
constexpr std::string_view address_set = "00062004-0000-0000-C000-000000000046";

// PS_PUBLIC_STRINGS, the same section.
constexpr std::string_view public_strings = "00020329-0000-0000-C000-000000000046";

constexpr std::array<std::array<Companion, 5>, 3> email_groups{{
    {{{0x8080, "String"},
      {0x8082, "String"},
      {0x8083, "String"},
      {0x8084, "String"},
      {0x8085, "Binary"}}},
    {{{0x8090, "String"},
      {0x8092, "String"},
      {0x8093, "String"},
      {0x8094, "String"},
      {0x8095, "Binary"}}},
    {{{0x80A0, "String"},
      {0x80A2, "String"},
      {0x80A3, "String"},
      {0x80A4, "String"},
      {0x80A5, "Binary"}}},
}};

std::string decimal(std::uint32_t number) {
    return std::to_string(number);
}

std::string hexadecimal(std::uint32_t number) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%04X", number);
    return text;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) {
        return false;
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (std::tolower(static_cast<unsigned char>(a[i])) !=
            std::tolower(static_cast<unsigned char>(b[i]))) {
            return false;
        }
    }
    return true;
}

// "0x3A45" or "14917".
bool is_number(const char* text, std::uint32_t number) {
    char* end = nullptr;
    return *text != '\0' && std::strtoul(text, &end, 0) == number && *end == '\0';
}

bool is_in_set(pugi::xml_node uri, std::string_view property_set, std::uint32_t id) {
    return is_number(uri.attribute("PropertyId").value(), id) &&
           (uri.attribute("DistinguishedPropertySetId").value() == property_set ||
            equal_ignoring_case(uri.attribute("PropertySetId").value(), address_set));
}

bool is_named(pugi::xml_node uri, std::string_view name) {
    return equal_ignoring_case(uri.attribute("PropertySetId").value(), own_property_set) &&
           uri.attribute("PropertyName").value() == name;
}

void add_named_uri(pugi::xml_node parent, const char* name, const char* type) {
    pugi::xml_node uri = add(parent, "t:ExtendedFieldURI");
    set(uri, "PropertySetId", own_property_set);
    set(uri, "PropertyName", name);
    set(uri, "PropertyType", type);
}

}  // namespace

bool carried(const record::Property& property) {
    switch (property.ews.form) {
        case EwsForm::none:
        case EwsForm::structure:
            return false;
        default:
            return true;
    }
}

bool is_extended(const record::Property& property) {
    return property.ews.form == EwsForm::extended_tag ||
           property.ews.form == EwsForm::extended_set || property.ews.form == EwsForm::named;
}

void add_field_uri(pugi::xml_node parent, const record::Property& property) {
    const Ews& ews = property.ews;
    switch (ews.form) {
        case EwsForm::entry:
        case EwsForm::address_part: {
            pugi::xml_node uri = add(parent, "t:IndexedFieldURI");
            set(uri, "FieldURI", ews.field_uri.data());
            set(uri, "FieldIndex", ews.index.data());
            break;
        }
        case EwsForm::extended_tag: {
            pugi::xml_node uri = add(parent, "t:ExtendedFieldURI");
            set(uri, "PropertyTag", hexadecimal(ews.id).c_str());
            set(uri, "PropertyType", ews.type.data());
            break;
        }
        case EwsForm::extended_set: {
            pugi::xml_node uri = add(parent, "t:ExtendedFieldURI");
            set(uri, "DistinguishedPropertySetId", ews.property_set.data());
            set(uri, "PropertyId", decimal(ews.id).c_str());
            set(uri, "PropertyType", ews.type.data());
            break;
        }
        case EwsForm::named:
            // A name of the user's may be a view into a longer text.
            add_named_uri(parent, std::string(ews.element).c_str(), ews.type.data());
            break;
        default:
            set(add(parent, "t:FieldURI"), "FieldURI", ews.field_uri.data());
    }
}

void add_stamp_uri(pugi::xml_node parent) {
    add_named_uri(parent, record::stamp_name.data(), "String");
}

void add_attempt_uri(pugi::xml_node parent) {
    add_named_uri(parent, record::attempt_name.data(), "String");
}

void add_user_field_uris(pugi::xml_node parent, const std::string& name) {
    for (const char* type : {"String", "Integer", "Double"}) {
        pugi::xml_node uri = add(parent, "t:ExtendedFieldURI");
        set(uri, "DistinguishedPropertySetId", "PublicStrings");
        set(uri, "PropertyName", name.c_str());
        set(uri, "PropertyType", type);
    }
}

bool names_property(pugi::xml_node uri, const record::Property& property) {
    const Ews& ews = property.ews;
    switch (ews.form) {
        case EwsForm::extended_tag:
            return is_number(uri.attribute("PropertyTag").value(), ews.id);
        case EwsForm::extended_set:
            return is_in_set(uri, ews.property_set, ews.id);
        case EwsForm::named:
            return is_named(uri, ews.element);
        default:
            return false;
    }
}

bool names_stamp(pugi::xml_node uri) {
    return is_named(uri, record::stamp_name);
}

bool names_attempt(pugi::xml_node uri) {
    return is_named(uri, record::attempt_name);
}

bool names_user_field(pugi::xml_node uri, std::string_view name) {
    return (uri.attribute("DistinguishedPropertySetId").value() ==
                std::string_view("PublicStrings") ||
            equal_ignoring_case(uri.attribute("PropertySetId").value(), public_strings)) &&
           uri.attribute("PropertyName").value() == name;
}

std::span<const Companion> email_group(std::string_view entry_key) {
    const char number = entry_key.empty() ? '0' : entry_key.back();
    if (!entry_key.starts_with("EmailAddress") || number < '1' || number > '3') {
        return {};
    }
    return email_groups[static_cast<std::size_t>(number - '1')];
}

const Companion* original_address(const record::Property& property) {
    const auto group = email_group(property.ews.index);
    const auto original = std::find_if(group.begin(), group.end(),
                                       [](const Companion& one) { return (one.id & 0xFU) == 4; });
    return original == group.end() ? nullptr : &*original;
}

std::span<const Companion> local_day(const record::Property& property) {
    static constexpr Companion birthday[] = {{0x80DE, "SystemTime"}};
    static constexpr Companion anniversary[] = {{0x80DF, "SystemTime"}};
    if (property.ews.element == "Birthday") {
        return birthday;
    }
    return property.ews.element == "WeddingAnniversary" ? std::span<const Companion>(anniversary)
                                                        : std::span<const Companion>();
}

bool names_companion(pugi::xml_node uri, const Companion& property) {
    return is_in_set(uri, "Address", property.id);
}

void add_companion_uri(pugi::xml_node parent, const Companion& property) {
    pugi::xml_node uri = add(parent, "t:ExtendedFieldURI");
    set(uri, "DistinguishedPropertySetId", "Address");
    set(uri, "PropertyId", decimal(property.id).c_str());
    set(uri, "PropertyType", property.type);
}

}  // namespace crmsync::exchange::ews
