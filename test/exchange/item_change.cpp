#include "item_change.hpp"

#include "date_time.hpp"
#include "errors.hpp"
#include "extended_property.hpp"
#include "server_rules.hpp"
#include "soap.hpp"

#include <algorithm>
#include <optional>

namespace stand_in {

namespace {

std::size_t characters(std::string_view utf8) {
    return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
}

/// Reads the elements of an item into changes.
class Reader {
  public:
    Reader(const ItemClass& item_class, bool creating)
        : item_class_(item_class), creating_(creating) {}

    void element(pugi::xml_node node) {
        int at = item_class_.position(local_name(node));
        if (at < 0)
            return;
        const Row& row = item_class_.rows[static_cast<std::size_t>(at)];
        check_rights(row);
        switch (row.kind) {
            case Kind::emails:
                emails(node);
                break;
            case Kind::phones:
                entries(node, "contacts:PhoneNumber");
                break;
            case Kind::ims:
                entries(node, "contacts:ImAddress");
                break;
            case Kind::addresses:
                addresses(node);
                break;
            case Kind::extended:
                put(slot_of_path(child(node, "ExtendedFieldURI")), read_extended_value(node));
                break;
            case Kind::body:
                body(node, row);
                break;
            default:
                put(row.slot, stored(node, row));
        }
    }

    Changes changes;

  private:
    void check_rights(const Row& row) const {
        if (row.rights & (creating_ ? kCreate : kSet))
            return;
        // Documented as writable, refused by every server.
        if (row.element == "Notes" || row.element == "Photo")
            throw ItemError{"ErrorInvalidPropertyRequest",
                            "Property is not valid for this object type.",
                            {{{"FieldURI", row.uri}}, false}};
        throw ItemError{"ErrorInvalidPropertySet",
                        "Set action is invalid for property.",
                        {{{"FieldURI", row.uri}}, false}};
    }

    void put(SlotId id, std::string value) {
        const Slot& to = slot(id);
        if (to.limit != 0 && value.size() > to.limit && characters(value) > to.limit) {
            if (to.kind == Kind::emails)
                throw ItemError{"ErrorInvalidPropertySet",
                                "The e-mail address is longer than the property allows."};
            throw ItemError{creating_ ? "ErrorItemSavePropertyError" : "ErrorPropertyUpdate",
                            "The value of property " + to.uri + " is longer than " +
                                std::to_string(to.limit) + " characters."};
        }
        changes.push_back({id, std::move(value), false});
    }

    static std::string stored(pugi::xml_node node, const Row& row) {
        std::string text = node.child_value();
        switch (row.kind) {
            case Kind::boolean:
                return text == "true" || text == "1" ? "true" : "false";
            case Kind::date_time:
                return normalise_date_time(text).value_or(text);
            case Kind::strings: {
                std::string joined;
                bool first = true;
                for (pugi::xml_node member : node.children()) {
                    joined += (first ? "" : std::string(1, kJoin)) + member.child_value();
                    first = false;
                }
                return joined;
            }
            case Kind::xml: {
                pugi::xml_document copy;
                copy_as_types(copy, node);
                return serialise(copy);
            }
            default:
                return text;
        }
    }

    /// Bodies are kept with CRLF, as a server answers them.
    void body(pugi::xml_node node, const Row& row) {
        std::string text;
        for (const char* c = node.child_value(); *c; ++c) {
            if (*c == '\n' && (text.empty() || text.back() != '\r'))
                text += '\r';
            text += *c;
        }
        put(row.slot, std::move(text));
        put(slot_of(row.uri + "@BodyType"), node.attribute("BodyType").value());
    }

    void entries(pugi::xml_node node, std::string_view uri) {
        for (pugi::xml_node entry : node.children())
            put(slot_of(uri, entry.attribute("Key").value()), entry.child_value());
    }

    void emails(pugi::xml_node node) {
        constexpr std::string_view uri = "contacts:EmailAddress";
        for (pugi::xml_node entry : node.children()) {
            std::string key = entry.attribute("Key").value(), address = entry.child_value();
            std::string name = entry.attribute("Name").value();
            std::string type = entry.attribute("RoutingType").value();
            put(slot_of(uri, key), address);
            put(slot_of(uri, key + "@Original"), address);
            put(slot_of(uri, key + "@Name"), name.empty() ? address : name);
            put(slot_of(uri, key + "@Type"), type.empty() ? "SMTP" : type);
        }
    }

    void addresses(pugi::xml_node node) {
        for (pugi::xml_node entry : node.children())
            for (pugi::xml_node part : entry.children())
                put(slot_of("contacts:PhysicalAddress:" + std::string(local_name(part)),
                            entry.attribute("Key").value()),
                    part.child_value());
    }

    const ItemClass& item_class_;
    bool creating_;
};

bool is_path(std::string_view name) {
    return name == "FieldURI" || name == "IndexedFieldURI" || name == "ExtendedFieldURI";
}

[[noreturn]] void wrong_count() {
    throw ItemError{"ErrorIncorrectUpdatePropertyCount",
                    "An object within a change description must contain one and only one property "
                    "to modify."};
}

/// The slot that a path names; for a FieldURI that is only a row, kNoSlot.
SlotId path_slot(pugi::xml_node path) {
    std::string_view kind = local_name(path);
    if (kind == "ExtendedFieldURI")
        return slot_of_path(path);
    if (kind == "IndexedFieldURI")
        return slot_of(path.attribute("FieldURI").value(), path.attribute("FieldIndex").value());
    return slot_of(path.attribute("FieldURI").value());
}

/// Counts the properties in the item element of a SetItemField: a dictionary counts its entries,
/// an address entry its parts.
std::size_t count_properties(pugi::xml_node item) {
    std::size_t count = 0;
    for (pugi::xml_node property : item.children()) {
        std::string_view name = local_name(property);
        if (name == "PhysicalAddresses")
            for (pugi::xml_node entry : property.children())
                count += count_elements(entry);
        else if (name == "EmailAddresses" || name == "PhoneNumbers" || name == "ImAddresses")
            count += count_elements(property);
        else if (property.type() == pugi::node_element)
            ++count;
    }
    return count;
}

void read_set(pugi::xml_node field, const ItemClass& item_class, Changes& changes) {
    pugi::xml_node path = first_element(field), item;
    if (!path || !is_path(local_name(path)))
        wrong_count();
    for (pugi::xml_node other : field.children())
        if (other != path && other.type() == pugi::node_element) {
            if (item)
                wrong_count();
            item = other;
        }
    if (!item || count_properties(item) != 1)
        wrong_count();
    const ItemClass* named = class_by_element(local_name(item));
    if (named != &item_class && local_name(item) != "Item")
        throw ItemError{"ErrorUpdatePropertyMismatch",
                        "Change description does not match the object's type."};
    Reader reader(item_class, false);
    reader.element(first_element(item));
    SlotId wanted = path_slot(path);
    bool matches = std::any_of(reader.changes.begin(), reader.changes.end(),
                               [&](const Change& c) { return c.slot == wanted; });
    if (!matches)
        throw ItemError{"ErrorUpdatePropertyMismatch",
                        "The property in the update description is not the one of the path."};
    std::move(reader.changes.begin(), reader.changes.end(), std::back_inserter(changes));
}

void remove_path(pugi::xml_node path, const ItemClass& item_class, Changes& changes) {
    SlotId id = path_slot(path);
    std::string uri = path.attribute("FieldURI").value();
    const Row* row = local_name(path) == "FieldURI" ? item_class.by_uri(uri) : nullptr;
    if (id == kNoSlot || (row && !(row->rights & kDelete)))
        throw ItemError{"ErrorInvalidPropertyDelete",
                        "The delete action is not supported for this property.",
                        {{{"FieldURI", uri}}, false}};
    changes.push_back({id, {}, true});
    if (row && row->kind == Kind::body)
        changes.push_back({slot_of(row->uri + "@BodyType"), {}, true});
    // An address removed by its index leaves the rest of its group behind, and so stays visible.
    if (uri == "contacts:EmailAddress") {
        std::string key = path.attribute("FieldIndex").value();
        changes.push_back({slot_of(uri, key + "@Type"), {}, true});
    }
}

}  // namespace

Changes read_new_item(pugi::xml_node item, const ItemClass& item_class) {
    Reader reader(item_class, true);
    for (pugi::xml_node property : item.children())
        if (property.type() == pugi::node_element)
            reader.element(property);
    return std::move(reader.changes);
}

Changes read_updates(pugi::xml_node updates, const ItemClass& item_class) {
    Changes changes;
    for (pugi::xml_node field : updates.children()) {
        std::string_view name = local_name(field);
        if (name == "SetItemField") {
            read_set(field, item_class, changes);
        } else if (name == "DeleteItemField") {
            pugi::xml_node path = first_element(field);
            if (!path || count_elements(field) != 1)
                wrong_count();
            remove_path(path, item_class, changes);
        } else if (field.type() == pugi::node_element) {
            throw ItemError{"ErrorAppendIsNotSupported", "Append is not supported here."};
        }
    }
    return changes;
}

void apply_changes(PropertyBag& values, const ItemClass& item_class, const Changes& changes,
                   bool is_new) {
    for (const Change& change : changes) {
        if (change.remove)
            values.erase(change.slot);
        else
            values.set(change.slot, change.value);
    }
    after_write(values, item_class, changes, is_new);
}

}  // namespace stand_in
