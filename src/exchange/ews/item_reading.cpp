#include "exchange/ews/item_reading.h"

#include <charconv>

#include "exchange/ews/answer_parts.h"
#include "exchange/ews/field_uri.h"
#include "exchange/ews/request.h"
#include "exchange/ews/wire_value.h"
#include "exchange/ews/xml.h"
#include "record/date.h"
#include "record/text.h"
#include "record/value.h"

namespace crmsync::exchange::ews {
namespace {

using record::Canonical;
using record::EwsForm;
using record::Object;
using record::Property;
using record::Value;

// Of the first one that is named so; empty: there is none.
template <typename IsNamed>
std::string extended_value(pugi::xml_node item, const IsNamed& is_named) {
    for (pugi::xml_node extended : children(item, "ExtendedProperty")) {
        if (is_named(child(extended, "ExtendedFieldURI"))) {
            return text_of(child(extended, "Value"));
        }
    }
    return {};
}

Canonical read_extended(pugi::xml_node item, const Property& property) {
    return from_wire(property, extended_value(item, [&](pugi::xml_node uri) {
                         return names_property(uri, property);
                     }));
}

Canonical read_strings(pugi::xml_node item, const Property& property) {
    std::vector<std::string> list;
    for (pugi::xml_node element : children(child(item, property.ews.element), "String")) {
        list.push_back(std::string(record::trimmed(record::cleaned(text_of(element)))));
    }
    std::string text = record::write_text_list(std::move(list));
    return text.empty() ? Canonical{} : Canonical{.value = std::move(text), .problem = {}};
}

pugi::xml_node find_entry(pugi::xml_node item, const Property& property) {
    for (pugi::xml_node entry : children(child(item, property.ews.container), "Entry")) {
        if (entry.attribute("Key").value() == property.ews.index) {
            return entry;
        }
    }
    return {};
}

// Of a user picked from the address list Outlook keeps the address that others know beside the
// directory's name. It may also have written his name there.
Canonical read_entry(pugi::xml_node item, const Property& property) {
    std::string text = text_of(find_entry(item, property));
    if (const Companion* original = original_address(property);
        original != nullptr && is_directory_name(text)) {
        const std::string address = extended_value(
            item, [&](pugi::xml_node uri) { return names_companion(uri, *original); });
        if (record::trimmed(address).find_first_of(" <>") == std::string_view::npos &&
            address.find('@') != std::string::npos) {
            text = address;
        }
    }
    return from_wire(property, text);
}

// As far as it is known before its content is read.
Canonical read_photo(pugi::xml_node item) {
    const std::vector<Attachment> photos = read_photos(item);
    if (photos.empty()) {
        return {};
    }
    return {.value = record::write_description(
                {.kind = record::unknown_kind, .size = photos.front().size, .digest = {}}),
            .problem = {}};
}

// Outlook writes midnight where it is, as UTC, and beside it the day as it is there. Only east of
// +12 that is another day than the rest of the world reads; otherwise it may be older than what
// others have written.
Canonical read_day(pugi::xml_node item, const Property& property) {
    constexpr auto easternmost = std::chrono::hours{13} + std::chrono::minutes{45};
    constexpr auto usual = std::chrono::hours{12} + std::chrono::minutes{1};
    const std::string text = text_of(child(item, property.ews.element));
    const auto at = record::read_time(text);
    for (const Companion& local : local_day(property)) {
        const auto there = record::read_time(
            extended_value(item, [&](pugi::xml_node uri) { return names_companion(uri, local); }));
        if (at && there && there->utc() > at->utc() + usual &&
            there->utc() <= at->utc() + easternmost) {
            return from_wire(property, record::timestamp_text(there->utc()));
        }
    }
    return from_wire(property, text);
}

// Text is asked for. A server that gives markup all the same does not say what the text is.
Canonical read_body(pugi::xml_node body, const Property& property) {
    const bool is_markup =
        record::lower_ascii(std::string_view(body.attribute("BodyType").value())) == "html";
    Canonical read = from_wire(property, text_of(body));
    return is_markup && read.value ? unreadable : read;
}

Canonical read_value(pugi::xml_node item, const Property& property) {
    switch (property.ews.form) {
        case EwsForm::none:
        case EwsForm::structure:
            return {};
        case EwsForm::photo:
            return read_photo(item);
        case EwsForm::extended_tag:
        case EwsForm::extended_set:
        case EwsForm::named:
            return read_extended(item, property);
        case EwsForm::string_list:
            return read_strings(item, property);
        case EwsForm::entry:
            return read_entry(item, property);
        case EwsForm::address_part:
            return from_wire(property,
                             text_of(child(find_entry(item, property), property.ews.element)));
        case EwsForm::element:
            return property.type == record::Type::date
                       ? read_day(item, property)
                       : from_wire(property, text_of(child(item, property.ews.element)));
        case EwsForm::body:
            return read_body(child(item, property.ews.element), property);
    }
    return {};
}

}  // namespace

void add_shape(pugi::xml_node operation, const record::Layout& layout,
               const std::string& key_property, bool with_folder) {
    pugi::xml_node shape = add(operation, "m:ItemShape");
    add_text(shape, "t:BaseShape", "IdOnly");
    add_text(shape, "t:BodyType", "Text");
    pugi::xml_node more = add(shape, "t:AdditionalProperties");
    add_stamp_uri(more);
    add_attempt_uri(more);
    if (with_folder) {
        set(add(more, "t:FieldURI"), "FieldURI", "item:ParentFolderId");
    }
    set(add(more, "t:FieldURI"), "FieldURI", "item:DateTimeCreated");
    set(add(more, "t:FieldURI"), "FieldURI", "item:LastModifiedTime");
    const Property* sensitivity = record::find_property("sensitivity", Object::contact);
    add_field_uri(more, *sensitivity);
    const Property* categories = record::find_property("categories", Object::contact);
    add_field_uri(more, *categories);
    if (!key_property.empty()) {
        add_user_field_uris(more, key_property);
    }
    for (const Property* property : layout) {
        if (carried(*property) && property != sensitivity && property != categories) {
            add_field_uri(more, *property);
            if (const Companion* original = original_address(*property)) {
                add_companion_uri(more, *original);
            }
            for (const Companion& local : local_day(*property)) {
                add_companion_uri(more, local);
            }
        }
    }
}

void read_values(pugi::xml_node item, const record::Layout& layout, ItemAnswer& answer) {
    answer.values.reserve(layout.size());
    for (std::size_t place = 0; place < layout.size(); ++place) {
        Canonical read = read_value(item, *layout[place]);
        if (!read.ok()) {
            answer.unread.push_back(place);
        }
        answer.values.push_back(std::move(read.value));
    }
}

namespace {

// Not every server that keeps photos says which file it is; Outlook goes by the name anyway. Nor
// need it say how large it is.
bool is_photo(pugi::xml_node file) {
    const pugi::xml_node says = child(file, "IsContactPhoto");
    const std::string value = text_of(says);
    return says ? value == "true" || value == "1"
                : record::lower_ascii(text_of(child(file, "Name"))) == "contactpicture.jpg";
}

}  // namespace

std::vector<Attachment> read_photos(pugi::xml_node item) {
    std::vector<Attachment> photos;
    for (pugi::xml_node file : children(child(item, "Attachments"), "FileAttachment")) {
        std::string id = child(file, "AttachmentId").attribute("Id").value();
        if (is_photo(file) && usable_id(id)) {
            const auto largest = record::find_property("photo", Object::contact)->max_length;
            photos.push_back({std::move(id), child(file, "Size").text().as_uint(largest)});
        }
    }
    return photos;
}

std::optional<std::chrono::sys_seconds> read_moment(pugi::xml_node item, const char* name) {
    const auto at = record::read_time(text_of(child(item, name)));
    return at ? std::optional(at->utc()) : std::nullopt;
}

std::vector<std::string> read_categories(pugi::xml_node item) {
    const Value list =
        read_value(item, *record::find_property("categories", Object::contact)).value;
    return list ? record::read_text_list(*list) : std::vector<std::string>();
}

bool read_private(pugi::xml_node item) {
    const std::string sensitivity = text_of(child(item, "Sensitivity"));
    return sensitivity == "Private" || sensitivity == "Confidential";
}

std::string read_key(pugi::xml_node item, std::string_view key_property) {
    const std::string value = extended_value(
        item, [&](pugi::xml_node uri) { return names_user_field(uri, key_property); });
    return std::string(record::trimmed(record::cleaned(value)));
}

std::string read_stamp_of(pugi::xml_node item) {
    return record::cleaned(extended_value(item, names_stamp));
}

std::int64_t read_attempt_of(pugi::xml_node item) {
    const std::string text = extended_value(item, names_attempt);
    std::int64_t attempt = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), attempt);
    return read.ec == std::errc{} && attempt > 0 ? attempt : 0;
}

}  // namespace crmsync::exchange::ews
