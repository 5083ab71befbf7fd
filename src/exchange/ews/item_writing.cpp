// Elements go out in the order of Property::position, which is the schema's. Entries of the same
// container, and parts of the same address, stand next to each other in that order, so that one
// open container and one open entry are all there is to remember.
#include "exchange/ews/item_writing.h"

#include <algorithm>
#include <span>
#include <stdexcept>

#include "exchange/ews/field_uri.h"
#include "exchange/ews/request.h"
#include "exchange/ews/wire_value.h"
#include "record/value.h"

namespace crmsync::exchange::ews {
namespace {

using record::EwsForm;
using record::Field;
using record::Fields;
using record::Object;
using record::Property;

std::string qualified(std::string_view name) {
    std::string text = "t:";
    text += name;
    return text;
}

std::string element_name(Object object) {
    if (object != Object::contact) {
        throw std::invalid_argument(std::string(record::object_name(object)) +
                                    " is not supported yet");
    }
    return qualified(item_element(object));
}

// The name shown with the e-mail address in the same request, which the server would otherwise make
// from the address; nullptr when there is none.
const std::string* shown_name(const Fields& fields, const Property& address) {
    const auto group = email_group(address.ews.index);
    for (const Field& field : fields) {
        if (!group.empty() && field.value && field.property->ews.form == EwsForm::extended_set &&
            field.property->ews.id == group.front().id) {
            return &*field.value;
        }
    }
    return nullptr;
}

void check_writable(const Property& property, Object object) {
    const auto refuse = [&](const std::string& why) {
        throw std::invalid_argument("property " + std::string(property.name) + " " + why);
    };
    if (!record::belongs_to(property, object)) {
        refuse("does not belong to " + std::string(record::object_name(object)));
    }
    if (property.access == record::Access::inbound) {
        refuse("cannot be written");
    }
    if (!carried(property)) {
        refuse("is not supported yet");
    }
}

std::vector<const Field*> in_schema_order(const Fields& fields, Object object) {
    std::vector<const Field*> ordered;
    ordered.reserve(fields.size());
    for (const Field& field : fields) {
        check_writable(*field.property, object);
        if (!record::travels_apart(*field.property)) {
            ordered.push_back(&field);
        }
    }
    std::stable_sort(ordered.begin(), ordered.end(), [](const Field* a, const Field* b) {
        return a->property->position < b->property->position;
    });
    return ordered;
}

void add_extended(pugi::xml_node item, const Property& property, const std::string& value) {
    pugi::xml_node extended = add(item, "t:ExtendedProperty");
    add_field_uri(extended, property);
    add_text(extended, "t:Value", to_wire(property, value));
}

void add_strings(pugi::xml_node item, const Property& property, const std::string& value) {
    pugi::xml_node list = add(item, qualified(property.ews.element).c_str());
    for (const std::string& element : record::read_text_list(value)) {
        add_text(list, "t:String", sendable(element));
    }
}

// Writes values one after the other below an item's element.
class ItemWriter {
  public:
    ItemWriter(pugi::xml_node item, const Fields& fields) : item_(item), fields_(fields) {}

    void write(const Property& property, const std::string& value) {
        switch (property.ews.form) {
            case EwsForm::extended_tag:
            case EwsForm::extended_set:
            case EwsForm::named:
                add_extended(item_, property, value);
                break;
            case EwsForm::string_list:
                add_strings(item_, property, value);
                break;
            case EwsForm::entry: {
                pugi::xml_node entry =
                    add_text(container(property), "t:Entry", to_wire(property, value));
                set(entry, "Key", property.ews.index.data());
                if (const std::string* name = shown_name(fields_, property)) {
                    set(entry, "Name", sendable(*name).c_str());
                }
                break;
            }
            case EwsForm::address_part:
                add_text(address(property), qualified(property.ews.element).c_str(),
                         to_wire(property, value));
                break;
            case EwsForm::body:
                set(add_text(item_, "t:Body", to_wire(property, value)), "BodyType", "Text");
                break;
            default:
                add_text(item_, qualified(property.ews.element).c_str(), to_wire(property, value));
        }
    }

  private:
    pugi::xml_node container(const Property& property) {
        if (container_name_ != property.ews.container) {
            container_name_ = property.ews.container;
            container_ = add(item_, qualified(container_name_).c_str());
            address_key_ = {};
        }
        return container_;
    }

    pugi::xml_node address(const Property& property) {
        pugi::xml_node addresses = container(property);
        if (address_key_ != property.ews.index) {
            address_key_ = property.ews.index;
            address_ = add(addresses, "t:Entry");
            set(address_, "Key", address_key_.data());
        }
        return address_;
    }

    pugi::xml_node item_;
    const Fields& fields_;  // all that the request writes to the item
    pugi::xml_node container_;
    pugi::xml_node address_;
    std::string_view container_name_;
    std::string_view address_key_;
};

// attempt 0: none has made the item.
void add_stamp(pugi::xml_node item, const std::string& stamp, std::int64_t attempt = 0) {
    pugi::xml_node extended = add(item, "t:ExtendedProperty");
    add_stamp_uri(extended);
    add_text(extended, "t:Value", sendable(stamp));
    if (attempt != 0) {
        extended = add(item, "t:ExtendedProperty");
        add_attempt_uri(extended);
        add_text(extended, "t:Value", std::to_string(attempt));
    }
}

void add_set(pugi::xml_node updates, Object object, const Property& property,
             const std::string& value, const Fields& fields) {
    pugi::xml_node change = add(updates, "t:SetItemField");
    add_field_uri(change, property);
    ItemWriter(add(change, element_name(object).c_str()), fields).write(property, value);
}

void remove_companions(pugi::xml_node updates, std::span<const Companion> companions) {
    for (const Companion& companion : companions) {
        add_companion_uri(add(updates, "t:DeleteItemField"), companion);
    }
}

void add_removal(pugi::xml_node updates, const Property& property) {
    add_field_uri(add(updates, "t:DeleteItemField"), property);
    remove_companions(updates, email_group(property.ews.index));
    remove_companions(updates, local_day(property));
}

// The name shown with an address goes with the whole group when the address is removed.
bool removed_with_address(const Field& field, const std::vector<const Field*>& fields) {
    return std::any_of(fields.begin(), fields.end(), [&](const Field* other) {
        const auto group = email_group(other->property->ews.index);
        return !other->value && !group.empty() &&
               field.property->ews.form == EwsForm::extended_set &&
               group.front().id == field.property->ews.id;
    });
}

}  // namespace

void add_new_item(pugi::xml_node items, Object object, const NewItem& item, std::int64_t attempt) {
    pugi::xml_node element = add(items, element_name(object).c_str());
    ItemWriter writer(element, item.fields);
    bool stamped = item.stamp.empty();
    for (const Field* field : in_schema_order(item.fields, object)) {
        if (!stamped && field->property->position > record::named_property_position()) {
            add_stamp(element, item.stamp, attempt);
            stamped = true;
        }
        if (field->value) {
            writer.write(*field->property, *field->value);
        }
    }
    if (!stamped) {
        add_stamp(element, item.stamp, attempt);
    }
}

void add_updates(pugi::xml_node updates, Object object, const ItemChange& item) {
    const std::string element = element_name(object);
    const Fields& fields = item.fields;
    const auto ordered = in_schema_order(fields, object);
    const auto write = [&](const Field& field) {
        if (field.value) {
            add_set(updates, object, *field.property, *field.value, fields);
            remove_companions(updates, local_day(*field.property));
        } else if (!field.property->absent.empty()) {
            add_set(updates, object, *field.property, std::string(field.property->absent), fields);
        } else if (!removed_with_address(field, ordered)) {
            add_removal(updates, *field.property);
        }
    };
    // Whole addresses and names of e-mail addresses come last: writing the parts, or the address,
    // makes the server set them.
    for (const Field* field : ordered) {
        if (!is_extended(*field->property)) {
            write(*field);
        }
    }
    for (const Field* field : ordered) {
        if (is_extended(*field->property)) {
            write(*field);
        }
    }
    if (!item.stamp.empty()) {
        pugi::xml_node change = add(updates, "t:SetItemField");
        add_stamp_uri(change);
        add_stamp(add(change, element.c_str()), item.stamp);
    }
}

}  // namespace crmsync::exchange::ews
