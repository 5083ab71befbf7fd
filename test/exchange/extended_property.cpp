#include "extended_property.hpp"

#include "date_time.hpp"
#include "errors.hpp"
#include "soap.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

namespace stand_in {

namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kPropertySets{{
    {"Meeting", "6ed8da90-450b-101b-98da-00aa003f1305"},
    {"Appointment", "00062002-0000-0000-c000-000000000046"},
    {"Common", "00062008-0000-0000-c000-000000000046"},
    {"PublicStrings", "00020329-0000-0000-c000-000000000046"},
    {"Address", kAddressSet},
    {"InternetHeaders", "00020386-0000-0000-c000-000000000046"},
    {"CalendarAssistant", "11000e07-b51b-40d6-af21-caa85edab1d0"},
    {"UnifiedMessaging", "4442858e-a9e3-4e80-b900-317a210cc15b"},
    {"Task", "00062003-0000-0000-c000-000000000046"},
    {"Sharing", "00062040-0000-0000-c000-000000000046"},
}};

[[noreturn]] void invalid(const char* text) {
    throw ItemError{"ErrorInvalidExtendedProperty", text};
}

long number(std::string_view text) {
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        text.remove_prefix(2);
        base = 16;
    }
    long value = -1;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc{} || end != text.data() + text.size())
        invalid("The property tag or identifier is not a number.");
    return value;
}

std::string hexadecimal(long value) {
    char text[24];
    std::snprintf(text, sizeof text, "0x%lx", value);
    return text;
}

std::string lower(std::string_view text) {
    std::string small(text);
    std::transform(small.begin(), small.end(), small.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return small;
}

std::string_view guid_of(std::string_view distinguished) {
    for (auto [name, guid] : kPropertySets)
        if (name == distinguished)
            return guid;
    invalid("The property set is not known.");
}

std::string key_of(pugi::xml_node path) {
    auto attribute = [&](const char* name) {
        return std::string_view(path.attribute(name).value());
    };
    std::string_view set = attribute("DistinguishedPropertySetId"),
                     guid = attribute("PropertySetId"), tag = attribute("PropertyTag"),
                     name = attribute("PropertyName"), id = attribute("PropertyId");
    if (!tag.empty()) {
        if (!set.empty() || !guid.empty() || !name.empty() || !id.empty())
            invalid("A property tag goes without property set, name and identifier.");
        long value = number(tag);
        if (value >= 0x8000 && value <= 0xfffe)
            invalid("Property tags from 0x8000 to 0xFFFE are reserved for named properties.");
        return "tag:" + hexadecimal(value);
    }
    if (set.empty() == guid.empty())
        invalid("An extended property needs one property set, or a property tag.");
    if (name.empty() == id.empty())
        invalid("A named property needs either PropertyName or PropertyId.");
    std::string key = set.empty() ? lower(guid) : std::string(guid_of(set));
    key += '/';
    return name.empty() ? key.append(hexadecimal(number(id))) : key.append(name);
}

/// Canonical text of one value of a type, or nothing when it is not of that type.
std::optional<std::string> canonical(std::string_view type, std::string value) {
    if (type.starts_with("Integer") || type.starts_with("Short") || type.starts_with("Long")) {
        long long parsed = 0;
        auto end = value.data() + value.size();
        if (std::from_chars(value.data(), end, parsed).ptr != end || value.empty())
            return std::nullopt;
        if (type.starts_with("Short") && (parsed < -32768 || parsed > 32767))
            return std::nullopt;
    } else if (type == "Boolean") {
        if (value != "true" && value != "false" && value != "1" && value != "0")
            return std::nullopt;
        return value == "true" || value == "1" ? "true" : "false";
    } else if (type.starts_with("SystemTime")) {
        return normalise_date_time(value);
    }
    return value;
}

}  // namespace

SlotId slot_of_path(pugi::xml_node path) {
    return slot_of_extended(key_of(path), path.attribute("PropertyType").value());
}

bool write_path(pugi::xml_node path, SlotId id) {
    const Slot& named = slot(id);
    if (named.type.empty())
        return false;
    std::string_view key = named.uri;
    if (key.starts_with("tag:")) {
        path.append_attribute("PropertyTag") = std::string(key.substr(4)).c_str();
    } else {
        std::size_t slash = key.find('/');
        path.append_attribute("PropertySetId") = std::string(key.substr(0, slash)).c_str();
        std::string rest(key.substr(slash + 1));
        if (rest.starts_with("0x"))
            path.append_attribute("PropertyId") = number(rest);
        else
            path.append_attribute("PropertyName") = rest.c_str();
    }
    path.append_attribute("PropertyType") = named.type.c_str();
    return true;
}

std::string read_extended_value(pugi::xml_node property) {
    std::string_view type = child(property, "ExtendedFieldURI").attribute("PropertyType").value();
    auto checked = [&](pugi::xml_node value) {
        auto text = canonical(type, value.child_value());
        if (!text)
            throw ItemError{"ErrorInvalidExtendedPropertyValue",
                            "The value of the extended property does not fit its type."};
        return *text;
    };
    const bool wants_many = type.ends_with("Array");
    if (pugi::xml_node values = child(property, "Values")) {
        if (!wants_many)
            throw ItemError{"ErrorInvalidExtendedPropertyValue",
                            "The property takes one value, not several."};
        std::string joined;
        for (pugi::xml_node value : values.children())
            joined += (joined.empty() ? "" : std::string(1, kJoin)) + checked(value);
        return joined;
    }
    if (wants_many)
        throw ItemError{"ErrorInvalidExtendedPropertyValue",
                        "The property takes several values, not one."};
    return checked(child(property, "Value"));
}

void write_extended(pugi::xml_node item, pugi::xml_node path, std::string_view value,
                    bool as_guid) {
    pugi::xml_node property = item.append_child("t:ExtendedProperty");
    pugi::xml_node uri = property.append_child("t:ExtendedFieldURI");
    for (pugi::xml_attribute attribute : path.attributes()) {
        std::string_view name = attribute.name();
        if (as_guid && name == "DistinguishedPropertySetId")
            uri.append_attribute("PropertySetId") = std::string(guid_of(attribute.value())).c_str();
        else if (!name.starts_with("xmlns"))
            uri.append_attribute(attribute.name()) = attribute.value();
    }
    if (!std::string_view(path.attribute("PropertyType").value()).ends_with("Array")) {
        add_text(property, "t:Value", value);
        return;
    }
    pugi::xml_node values = property.append_child("t:Values");
    each_member(value, [&](std::string_view member) { add_text(values, "t:Value", member); });
}

}  // namespace stand_in
