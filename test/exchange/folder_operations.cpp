#include "folder_operations.hpp"

#include "extended_property.hpp"
#include "restriction.hpp"

#include <algorithm>
#include <functional>
#include <vector>

namespace stand_in {

namespace {

const char* element_of(const Folder& folder) {
    if (folder.folder_class.starts_with("IPF.Contact"))
        return "t:ContactsFolder";
    if (folder.folder_class.starts_with("IPF.Appointment"))
        return "t:CalendarFolder";
    if (folder.folder_class.starts_with("IPF.Task"))
        return "t:TasksFolder";
    return "t:Folder";
}

std::string class_for(pugi::xml_node folder) {
    std::string_view given = child(folder, "FolderClass").child_value();
    if (!given.empty())
        return std::string(given);
    std::string_view element = local_name(folder);
    return element == "ContactsFolder"   ? "IPF.Contact"
           : element == "CalendarFolder" ? "IPF.Appointment"
           : element == "TasksFolder"    ? "IPF.Task"
                                         : "IPF.Note";
}

void write_id(pugi::xml_node parent, const char* element, const Mailbox& mailbox,
              std::uint32_t number, std::uint64_t change) {
    pugi::xml_node id = parent.append_child(element);
    id.append_attribute("Id") = format_folder_id({mailbox.guid, number}).c_str();
    if (change != 0)
        id.append_attribute("ChangeKey") = format_change_key(mailbox.guid, change).c_str();
}

std::size_t count_children(const Mailbox& mailbox, std::uint32_t number) {
    return static_cast<std::size_t>(
        std::count_if(mailbox.folders.begin(), mailbox.folders.end(),
                      [&](const auto& entry) { return entry.second.parent == number; }));
}

std::optional<std::string> value_of(const Mailbox& mailbox, const Folder& folder,
                                    const Operand& operand) {
    if (operand.uri == "folder:DisplayName")
        return folder.name;
    if (operand.uri == "folder:FolderClass")
        return folder.folder_class;
    if (operand.uri == "folder:TotalCount")
        return std::to_string(folder.items.size());
    if (operand.uri == "folder:ChildFolderCount")
        return std::to_string(count_children(mailbox, folder.number));
    if (auto value = folder.values.get(operand.slot); value && operand.slot != kNoSlot)
        return std::string(*value);
    return std::nullopt;
}

/// The folders below one, in the order in which a client may walk them.
void collect(const Mailbox& mailbox, std::uint32_t parent, bool deep,
             std::vector<const Folder*>& found) {
    for (const auto& [number, folder] : mailbox.folders)
        if (folder.parent == parent) {
            found.push_back(&folder);
            if (deep)
                collect(mailbox, number, deep, found);
        }
}

Folder& folder_of(const FolderRef& ref) {
    Folder* folder = ref.mailbox->folder(ref.number);
    if (!folder)
        throw ItemError{"ErrorFolderNotFound",
                        "The specified folder could not be found in the store."};
    return *folder;
}

void answer_folder_id(Answer& answer, const Mailbox& mailbox, const Folder& folder) {
    pugi::xml_node to = answer.success().append_child("m:Folders").append_child(element_of(folder));
    write_id(to, "t:FolderId", mailbox, folder.number, folder.change);
}

void refuse_distinguished(const Folder& folder) {
    if (!folder.distinguished.empty())
        throw ItemError{"ErrorDeleteDistinguishedFolder",
                        "Distinguished folders cannot be deleted."};
}

void set_field(Mailbox& mailbox, Folder& folder, pugi::xml_node field) {
    pugi::xml_node content;
    for (pugi::xml_node node : field.children())
        if (std::string_view(local_name(node)).ends_with("Folder"))
            content = node;
    pugi::xml_node value = first_element(content);
    if (count_elements(content) != 1)
        throw ItemError{"ErrorIncorrectUpdatePropertyCount",
                        "An object within a change description must contain one and only one "
                        "property to modify."};
    if (local_name(value) == "ExtendedProperty") {
        folder.values.set(slot_of_path(child(value, "ExtendedFieldURI")),
                          read_extended_value(value));
        return;
    }
    if (local_name(value) != "DisplayName")
        throw ItemError{"ErrorInvalidPropertySet", "Set action is invalid for property."};
    Folder* same = mailbox.child_folder(folder.parent, value.child_value());
    if (same && same != &folder)
        throw ItemError{"ErrorFolderExists", "A folder with the specified name already exists."};
    folder.name = value.child_value();
}

}  // namespace

void write_folder(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                  pugi::xml_node shape) {
    pugi::xml_node to = parent.append_child(element_of(folder));
    std::string_view base = child(shape, "BaseShape").child_value();
    pugi::xml_node additional = child(shape, "AdditionalProperties");
    auto wants = [&](const char* element, bool in_default) {
        if (base == "AllProperties" || (base == "Default" && in_default))
            return true;
        std::string uri = std::string("folder:") + element;
        return bool(additional.find_child([&](pugi::xml_node path) {
            return std::string_view(path.attribute("FieldURI").value()) == uri;
        }));
    };
    write_id(to, "t:FolderId", mailbox, folder.number, folder.change);
    if (wants("ParentFolderId", false) && folder.parent != 0)
        write_id(to, "t:ParentFolderId", mailbox, folder.parent, 0);
    if (wants("FolderClass", false) && !folder.folder_class.empty())
        add_text(to, "t:FolderClass", folder.folder_class);
    if (wants("DisplayName", true))
        add_text(to, "t:DisplayName", folder.name);
    if (wants("TotalCount", true))
        add_text(to, "t:TotalCount", std::to_string(folder.items.size()));
    if (wants("ChildFolderCount", true))
        add_text(to, "t:ChildFolderCount", std::to_string(count_children(mailbox, folder.number)));
    for (pugi::xml_node path : additional.children())
        if (local_name(path) == "ExtendedFieldURI")
            if (auto value = folder.values.get(slot_of_path(path)))
                write_extended(to, path, *value);
    if (wants("EffectiveRights", false)) {
        pugi::xml_node rights = to.append_child("t:EffectiveRights");
        for (const char* right : {"t:CreateAssociated", "t:CreateContents", "t:CreateHierarchy",
                                  "t:Delete", "t:Modify", "t:Read"})
            add_text(rights, right, "true");
    }
    if (wants("DistinguishedFolderId", false) && !folder.distinguished.empty())
        add_text(to, "t:DistinguishedFolderId", folder.distinguished);
    std::string_view element = local_name(to);
    if (wants("UnreadCount", true) && (element == "Folder" || element == "TasksFolder"))
        add_text(to, "t:UnreadCount", "0");
}

std::string get_folder(Context& context, pugi::xml_node request) {
    Answer answer("GetFolder");
    each_of_batch(context, answer, child(request, "FolderIds"), [&](pugi::xml_node id) {
        FolderRef ref = resolve_folder(context, id);
        std::lock_guard lock(ref.mailbox->mutex);
        Folder& folder = folder_of(ref);
        write_folder(answer.success().append_child("m:Folders"), *ref.mailbox, folder,
                     child(request, "FolderShape"));
    });
    return answer.text();
}

std::string find_folder(Context& context, pugi::xml_node request) {
    Answer answer("FindFolder");
    bool deep = std::string_view(request.attribute("Traversal").value()) == "Deep";
    pugi::xml_node view = child(request, "IndexedPageFolderView");
    each_of_batch(context, answer, child(request, "ParentFolderIds"), [&](pugi::xml_node id) {
        std::optional<Restriction> restriction;
        if (pugi::xml_node given = child(request, "Restriction"))
            restriction.emplace(first_element(given));
        FolderRef ref = resolve_folder(context, id);
        std::lock_guard lock(ref.mailbox->mutex);
        std::vector<const Folder*> found;
        collect(*ref.mailbox, ref.number, deep, found);
        if (restriction)
            std::erase_if(found, [&](const Folder* folder) {
                return !restriction->matches([&](const Operand& operand) {
                    return value_of(*ref.mailbox, *folder, operand);
                });
            });
        std::size_t first =
            std::min<std::size_t>(view.attribute("Offset").as_uint(0), found.size());
        std::size_t most = view.attribute("MaxEntriesReturned").as_uint(1000);
        std::size_t last = std::min(found.size(), first + most);
        pugi::xml_node root = answer.success().append_child("m:RootFolder");
        if (view)
            root.append_attribute("IndexedPagingOffset") = static_cast<unsigned>(last);
        root.append_attribute("TotalItemsInView") = static_cast<unsigned>(found.size());
        root.append_attribute("IncludesLastItemInRange") = last == found.size();
        pugi::xml_node folders = root.append_child("t:Folders");
        for (std::size_t i = first; i < last; ++i)
            write_folder(folders, *ref.mailbox, *found[i], child(request, "FolderShape"));
    });
    return answer.text();
}

std::string create_folder(Context& context, pugi::xml_node request) {
    Answer answer("CreateFolder");
    each_of_batch(context, answer, child(request, "Folders"), [&](pugi::xml_node node) {
        FolderRef parent = resolve_folder(context, first_element(child(request, "ParentFolderId")));
        std::lock_guard lock(parent.mailbox->mutex);
        Mailbox& mailbox = *parent.mailbox;
        std::string name = child(node, "DisplayName").child_value();
        if (name.empty())
            throw ItemError{"ErrorFolderSave", "A folder needs a display name."};
        if (mailbox.child_folder(parent.number, name))
            throw ItemError{"ErrorFolderExists",
                            "A folder with the specified name already exists."};
        Folder& created = mailbox.create_folder(parent.number, name, class_for(node));
        for (pugi::xml_node property : node.children())
            if (local_name(property) == "ExtendedProperty")
                created.values.set(slot_of_path(child(property, "ExtendedFieldURI")),
                                   read_extended_value(property));
        answer_folder_id(answer, mailbox, created);
    });
    return answer.text();
}

std::string update_folder(Context& context, pugi::xml_node request) {
    Answer answer("UpdateFolder");
    each_of_batch(context, answer, child(request, "FolderChanges"), [&](pugi::xml_node change) {
        FolderRef ref = resolve_folder(context, first_element(change));
        std::lock_guard lock(ref.mailbox->mutex);
        Folder& folder = folder_of(ref);
        for (pugi::xml_node field : child(change, "Updates").children()) {
            if (local_name(field) == "SetFolderField")
                set_field(*ref.mailbox, folder, field);
            else if (pugi::xml_node path = child(field, "ExtendedFieldURI"))
                folder.values.erase(slot_of_path(path));
            else
                throw ItemError{"ErrorInvalidPropertyDelete",
                                "The delete action is not supported for this property."};
        }
        folder.change = ref.mailbox->next_change();
        answer_folder_id(answer, *ref.mailbox, folder);
    });
    return answer.text();
}

std::string delete_folder(Context& context, pugi::xml_node request) {
    Answer answer("DeleteFolder");
    bool move = std::string_view(request.attribute("DeleteType").value()) == "MoveToDeletedItems";
    each_of_batch(context, answer, child(request, "FolderIds"), [&](pugi::xml_node id) {
        FolderRef ref = resolve_folder(context, id);
        std::lock_guard lock(ref.mailbox->mutex);
        Folder& folder = folder_of(ref);
        refuse_distinguished(folder);
        if (move) {
            folder.parent = ref.mailbox->distinguished("deleteditems")->number;
            folder.change = ref.mailbox->next_change();
        } else {
            ref.mailbox->remove_folder(ref.number);
        }
        answer.success();
    });
    return answer.text();
}

std::string empty_folder(Context& context, pugi::xml_node request) {
    Answer answer("EmptyFolder");
    bool below = request.attribute("DeleteSubFolders").as_bool();
    each_of_batch(context, answer, child(request, "FolderIds"), [&](pugi::xml_node id) {
        FolderRef ref = resolve_folder(context, id);
        std::lock_guard lock(ref.mailbox->mutex);
        Folder& folder = folder_of(ref);
        while (!folder.items.empty())
            ref.mailbox->remove(folder, folder.items.begin()->first);
        std::vector<const Folder*> found;
        if (below)
            collect(*ref.mailbox, ref.number, false, found);
        for (const Folder* inner : found)
            ref.mailbox->remove_folder(inner->number);
        answer.success();
    });
    return answer.text();
}

}  // namespace stand_in
