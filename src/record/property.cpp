// Looking up properties and naming their kinds.
#include "record/property.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "record/property_table.h"
#include "record/text.h"

namespace crmsync::record {
namespace {

constexpr std::string_view named_prefix = "x:";
constexpr std::size_t longest_named = 120;  // characters of a MAPI property name, with a margin

// A named property and the text its views point into.
struct Named {
    explicit Named(std::string_view full_name) : name(full_name) {
        const std::string_view own = std::string_view(name).substr(named_prefix.size());
        property = {.name = name,
                    .objects = static_cast<std::uint8_t>(Object::contact) |
                               static_cast<std::uint8_t>(Object::event) |
                               static_cast<std::uint8_t>(Object::task),
                    .type = Type::text,
                    .max_length = 0,
                    .access = Access::both,
                    .compared = true,
                    .choices = {},
                    .absent = {},
                    .ews = {.form = EwsForm::named, .element = own, .type = "String"},
                    .graph_path = {},
                    .description = "a named string property of your own",
                    .position = named_property_position()};
    }
    Named(const Named&) = delete;
    Named& operator=(const Named&) = delete;

    std::string name;
    Property property{};
};

// Names in our property set that mean something already.
bool reserved(std::string_view own) {
    const std::string word = lower_ascii(own);
    const auto rows = property_rows();
    return word == stamp_name || word == attempt_name ||
           std::any_of(rows.begin(), rows.end(), [&](const Property& row) {
               return row.ews.form == EwsForm::named && row.ews.element == word;
           });
}

const Property* find_named(std::string_view name) {
    static std::map<std::string, std::unique_ptr<Named>, std::less<>> known;
    if (const auto found = known.find(name); found != known.end()) {
        return &found->second->property;
    }
    const std::string_view own = name.substr(named_prefix.size());
    if (own.empty() || own.size() > longest_named || trimmed(own) != own || text_problem(own) ||
        reserved(own)) {
        return nullptr;
    }
    auto made = std::make_unique<Named>(name);
    return &known.emplace(std::string(name), std::move(made)).first->second->property;
}

}  // namespace

std::span<const Property> properties() {
    return property_rows();
}

const Property* find_property(std::string_view name, Object object) {
    if (name.starts_with(named_prefix)) {
        return find_named(name);
    }
    const auto rows = property_rows();
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const Property& property) {
        return property.name == name && belongs_to(property, object);
    });
    return found == rows.end() ? nullptr : &*found;
}

std::optional<Object> object_from_name(std::string_view name) {
    for (const Object object : {Object::contact, Object::event, Object::task}) {
        if (name == object_name(object)) {
            return object;
        }
    }
    return std::nullopt;
}

std::string_view object_name(Object object) {
    switch (object) {
        case Object::contact:
            return "contact";
        case Object::event:
            return "event";
        case Object::task:
            return "task";
    }
    return "";
}

std::string_view type_name(Type type) {
    switch (type) {
        case Type::text:
            return "text";
        case Type::email:
            return "email";
        case Type::date:
            return "date";
        case Type::timestamp:
            return "timestamp";
        case Type::boolean:
            return "boolean";
        case Type::integer:
            return "integer";
        case Type::choice:
            return "choice";
        case Type::text_list:
            return "text_list";
        case Type::binary:
            return "binary";
    }
    return "";
}

std::string_view access_name(Access access) {
    switch (access) {
        case Access::both:
            return "both";
        case Access::outbound:
            return "outbound";
        case Access::inbound:
            return "inbound";
    }
    return "";
}

std::string ews_address(const Property& property) {
    const Ews& ews = property.ews;
    const auto hexadecimal = [&] {
        char text[16];
        std::snprintf(text, sizeof text, "0x%04X", ews.id);
        return std::string(text);
    };
    switch (ews.form) {
        case EwsForm::none:
            return {};
        case EwsForm::element:
        case EwsForm::body:
        case EwsForm::string_list:
        case EwsForm::structure:
            return std::string(ews.field_uri);
        case EwsForm::entry:
        case EwsForm::address_part:
            return std::string(ews.field_uri) + "/" + std::string(ews.index);
        case EwsForm::extended_tag:
            return hexadecimal() + " " + std::string(ews.type);
        case EwsForm::extended_set:
            return std::string(ews.property_set) + " " + hexadecimal() + " " +
                   std::string(ews.type);
        case EwsForm::named:
            return "named " + std::string(ews.element) + " " + std::string(ews.type);
        case EwsForm::photo:
            return "FileAttachment IsContactPhoto";
    }
    return {};
}

}  // namespace crmsync::record
