#include "content.hpp"

#include "errors.hpp"
#include "item_change.hpp"
#include "soap.hpp"

#include <stdexcept>
#include <vector>

namespace stand_in {

namespace {

using nlohmann::json;

struct Found {
    Folder* folder;
    std::uint64_t number;
};

json value_as_json(SlotId id, std::string_view value) {
    const Slot& of = slot(id);
    if (of.kind != Kind::strings && !of.type.ends_with("Array"))
        return std::string(value);
    json list = json::array();
    each_member(value, [&](std::string_view member) { list.push_back(std::string(member)); });
    return list;
}

std::string value_from_json(const json& value) {
    if (value.is_string())
        return value.get<std::string>();
    if (!value.is_array())
        return value.dump();
    std::string joined;
    for (const json& member : value)
        joined += (joined.empty() ? "" : std::string(1, kJoin)) + member.get<std::string>();
    return joined;
}

json item_as_json(const Mailbox& mailbox, const Folder& folder, const Item& item) {
    json properties = json::object();
    item.values.each([&](SlotId id, std::string_view value) {
        properties[property_name(id)] = value_as_json(id, value);
    });
    json attachments = json::array();
    for (const Attachment& one : item.attachments)
        attachments.push_back({{"name", one.name},
                               {"content_type", one.content_type},
                               {"is_contact_photo", one.is_contact_photo},
                               {"content", encode_base64(one.content)}});
    bool calendar = item.item_class->element == "CalendarItem";
    return {{"id", format_item_id(mailbox.key(folder, item))},
            {"change_key", format_change_key(mailbox.guid, item.change, calendar)},
            {"class", item.item_class->element},
            {"created", format_date_time(item.created)},
            {"modified", format_date_time(item.modified)},
            {"attachments", attachments},
            {"properties", properties}};
}

/// Slot of a property's name; extended ones are of type String when they are new.
SlotId slot_by_name(const std::string& name) {
    if (SlotId known = slot_of(name))
        return known;
    if (name.find(':') != std::string::npos && !name.starts_with("tag:"))
        throw std::invalid_argument("no such property: " + name);
    return slot_of_extended(name, "String");
}

bool is_deleted(Mailbox& mailbox, const Folder& folder) {
    const Folder* deleted = mailbox.distinguished("deleteditems");
    const Folder* above = &folder;
    while (above && above != deleted)
        above = mailbox.folder(above->parent);
    return above != nullptr;
}

/// One that its user has deleted, by itself or with one that it is in, is not meant.
Folder& folder_by_name(Mailbox& mailbox, const std::string& name) {
    if (Folder* folder = mailbox.distinguished(name))
        return *folder;
    for (auto& [number, folder] : mailbox.folders)
        if (folder.name == name && !is_deleted(mailbox, folder))
            return folder;
    throw std::invalid_argument("no such folder: " + name);
}

bool matches(const Item& item, const json& wanted) {
    for (const auto& [name, value] : wanted.items())
        if (item.values.get(slot_by_name(name)) != value_from_json(value))
            return false;
    return true;
}

/// The items that an action names: by "id", or by "match" in a folder or everywhere.
std::vector<Found> find_items(Mailbox& mailbox, const json& action) {
    std::vector<Found> found;
    if (action.contains("id")) {
        auto key = parse_item_id(action["id"].get<std::string>());
        if (key && mailbox.item(*key))
            found.push_back({mailbox.folder(key->folder), key->number});
        return found;
    }
    json wanted = action.value("match", json::object());
    std::string only = action.value("folder", "");
    for (auto& [number, folder] : mailbox.folders) {
        if (!only.empty() && &folder != &folder_by_name(mailbox, only))
            continue;
        for (auto& [id, item] : folder.items)
            if (matches(item, wanted))
                found.push_back({&folder, id});
    }
    return found;
}

Changes read_set(const json& action) {
    Changes changes;
    json set = action.value("set", json::object());
    for (const auto& [name, value] : set.items()) {
        SlotId id = slot_by_name(name);
        if (value.is_null())
            changes.push_back({id, {}, true});
        else
            changes.push_back({id, value_from_json(value), false});
        if (slot(id).kind == Kind::emails && slot(id).index.find('@') == std::string::npos)
            for (const char* part : {"@Name", "@Original"})
                changes.push_back({slot_of(slot(id).uri, slot(id).index + part),
                                   value.is_null() ? "" : value_from_json(value), value.is_null()});
    }
    return changes;
}

/// "photo": base64, or null for none; as Outlook does it, in one write with the rest.
void set_photo(Mailbox& mailbox, const json& action, Item& item) {
    if (!action.contains("photo"))
        return;
    std::erase_if(item.attachments, [](const Attachment& one) { return one.is_contact_photo; });
    if (action["photo"].is_null())
        return;
    auto content = decode_base64(action["photo"].get<std::string>());
    if (!content)
        throw std::invalid_argument("the photo is not base64");
    item.attachments.push_back({.number = mailbox.next_attachment(),
                                .name = "ContactPicture.jpg",
                                .content_type = "image/jpeg",
                                .content = std::move(*content),
                                .is_contact_photo = true,
                                .modified = now()});
}

std::string create(Mailbox& mailbox, const json& action) {
    const ItemClass* item_class = class_by_element(action.value("class", "Contact"));
    if (!item_class)
        throw std::invalid_argument("no such item class");
    Folder& folder = folder_by_name(mailbox, action.value("folder", "contacts"));
    Item item;
    set_photo(mailbox, action, item);
    item.item_class = item_class;
    apply_changes(item.values, *item_class, read_set(action), true);
    return format_item_id(mailbox.key(folder, mailbox.add(folder, std::move(item))));
}

/// Does one action to one item; returns the id it has afterwards, empty when it is gone.
std::string act(Mailbox& mailbox, const json& action, const Found& found) {
    std::string name = action.value("action", "");
    Folder& folder = *found.folder;
    Item& item = folder.items.at(found.number);
    if (name == "update") {
        if (action.contains("photo")) {
            mailbox.used -= item.bytes();
            set_photo(mailbox, action, item);
            mailbox.used += item.bytes();
        }
        PropertyBag values = item.values;
        apply_changes(values, *item.item_class, read_set(action), false);
        mailbox.replace(folder, item, std::move(values));
        return format_item_id(mailbox.key(folder, item));
    }
    if (name == "delete") {
        mailbox.remove(folder, found.number);
        return {};
    }
    Folder& to = folder_by_name(mailbox, action.value("to", "deleteditems"));
    if (name == "move")
        return format_item_id(mailbox.key(to, mailbox.move(folder, found.number, to)));
    Item copy = item;
    apply_changes(copy.values, *copy.item_class, read_set(action), false);
    return format_item_id(mailbox.key(to, mailbox.add(to, std::move(copy))));
}

}  // namespace

std::string property_name(SlotId id) {
    const Slot& named = slot(id);
    return named.index.empty() ? named.uri : named.uri + "/" + named.index;
}

json content_of(Mailbox& mailbox) {
    std::lock_guard lock(mailbox.mutex);
    json folders = json::array();
    for (const auto& [number, folder] : mailbox.folders) {
        json items = json::array();
        for (const auto& [id, item] : folder.items)
            items.push_back(item_as_json(mailbox, folder, item));
        json properties = json::object();
        folder.values.each([&](SlotId id, std::string_view value) {
            properties[property_name(id)] = value_as_json(id, value);
        });
        const Folder* parent = mailbox.folder(folder.parent);
        folders.push_back({{"id", format_folder_id({mailbox.guid, number})},
                           {"name", folder.name},
                           {"parent", parent ? parent->name : ""},
                           {"class", folder.folder_class},
                           {"distinguished", folder.distinguished},
                           {"properties", properties},
                           {"items", items}});
    }
    return {{"address", mailbox.address},
            {"sid", sid_of(mailbox)},
            {"used", mailbox.used},
            {"in_flight", mailbox.in_flight.load()},
            {"most_in_flight", mailbox.most_in_flight.load()},
            {"folders", folders}};
}

json act_as_user(Mailbox& mailbox, const json& action) {
    std::lock_guard lock(mailbox.mutex);
    json ids = json::array();
    try {
        std::string name = action.value("action", "");
        if (name == "create") {
            ids.push_back(create(mailbox, action));
        } else if (name == "update" || name == "delete" || name == "move" || name == "copy") {
            for (const Found& found : find_items(mailbox, action))
                ids.push_back(act(mailbox, action, found));
        } else {
            throw std::invalid_argument("actions are create, update, delete, move, copy");
        }
    } catch (const ItemError& error) {
        throw std::invalid_argument(error.code + ": " + error.text);
    }
    return {{"count", ids.size()}, {"ids", ids}};
}

json act_on_folder(Mailbox& mailbox, const json& action) {
    std::lock_guard lock(mailbox.mutex);
    const std::string what = action.value("action", "");
    const std::string name = action.value("folder", "");
    if (what == "create") {
        mailbox.create_folder(folder_by_name(mailbox, action.value("to", "")).number, name,
                              action.value("class", "IPF.Contact"), "");
        return {{"done", true}};
    }
    Folder& folder = folder_by_name(mailbox, name);
    if (!folder.distinguished.empty())
        throw std::invalid_argument("a distinguished folder stays");
    if (what == "delete") {
        mailbox.remove_folder(folder.number);
    } else if (what == "bin" || what == "move") {
        const std::string to = what == "bin" ? "deleteditems" : action.value("to", "");
        folder.parent = folder_by_name(mailbox, to).number;
        folder.change = mailbox.next_change();
    } else {
        throw std::invalid_argument("the actions are create, move, bin and delete");
    }
    return {{"done", true}};
}

}  // namespace stand_in
