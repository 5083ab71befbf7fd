#include "item_operations.hpp"

#include "item_change.hpp"
#include "shape.hpp"

namespace stand_in {

namespace {

/// The items element of a success, holding only the id.
void answer_id(Answer& answer, const Mailbox& mailbox, const Folder& folder, const Item& item) {
    pugi::xml_node items = answer.success().append_child("m:Items");
    std::string element = "t:" + std::string(item.item_class->element);
    write_item_id(items.append_child(element.c_str()), mailbox, folder, item);
}

FolderRef standard_folder(const Context& context, const ItemClass& item_class) {
    std::string_view element = item_class.element;
    const char* standard = element == "Contact"        ? "contacts"
                           : element == "CalendarItem" ? "calendar"
                           : element == "Task"         ? "tasks"
                                                       : "drafts";
    pugi::xml_document document;
    pugi::xml_node id = document.append_child("t:DistinguishedFolderId");
    id.append_attribute("Id") = standard;
    return resolve_folder(context, id);
}

void require(bool given, const char* code, const char* text) {
    if (!given)
        throw ItemError{code, text};
}

void check_new(pugi::xml_node request, const ItemClass& item_class, const Folder& folder) {
    if (item_class.element == "CalendarItem")
        require(request.attribute("SendMeetingInvitations"), "ErrorSendMeetingInvitationsRequired",
                "SendMeetingInvitations attribute is required for Calendar items.");
    if (item_class.element == "Message")
        require(request.attribute("MessageDisposition"), "ErrorMessageDispositionRequired",
                "MessageDisposition attribute is required for messages.");
    if (!item_class.folder_class.empty() &&
        !folder.folder_class.starts_with(item_class.folder_class))
        throw ItemError{std::string(item_class.wrong_folder),
                        "The folder is not of the class of the item."};
}

/// The change key decides whether the item is still the one that the client has seen.
void check_change_key(pugi::xml_node id, const Item& item, std::string_view resolution) {
    std::string_view given = id.attribute("ChangeKey").value();
    require(!given.empty(), "ErrorChangeKeyRequiredForWriteOperations",
            "The change key is required for this operation.");
    auto change = parse_change_key(given);
    require(change.has_value(), "ErrorInvalidChangeKey", "The change key is invalid.");
    if (resolution == "NeverOverwrite" && *change != item.change)
        throw ItemError{"ErrorIrresolvableConflict",
                        "The send or update operation could not be performed because the change "
                        "key passed in the request does not match the current change key for the "
                        "item."};
}

void check_deletion(pugi::xml_node request, const Item& item) {
    if (item.item_class->element == "CalendarItem")
        require(request.attribute("SendMeetingCancellations"),
                "ErrorSendMeetingCancellationsRequired",
                "SendMeetingCancellations attribute is required for Calendar items.");
    if (item.item_class->element == "Task")
        require(request.attribute("AffectedTaskOccurrences"),
                "ErrorAffectedTaskOccurrencesRequired",
                "AffectedTaskOccurrences attribute is required for Task items.");
}

Folder* bin_for(Mailbox& mailbox, std::string_view delete_type) {
    if (delete_type == "MoveToDeletedItems")
        return mailbox.distinguished("deleteditems");
    if (delete_type == "SoftDelete")
        return mailbox.distinguished("recoverableitemsdeletions");
    return nullptr;
}

std::string move_or_copy(Context& context, pugi::xml_node request, const char* operation,
                         bool copy) {
    Answer answer(operation);
    std::string_view wants_ids = child(request, "ReturnNewItemIds").child_value();
    each_of_batch(context, answer, child(request, "ItemIds"), [&](pugi::xml_node id) {
        FolderRef to = resolve_folder(context, first_element(child(request, "ToFolderId")));
        LockedItem locked = lock_item(context, id);
        if (locked.mailbox != to.mailbox)
            throw ItemError{"ErrorCrossMailboxMoveCopy", "Moves between mailboxes are not done."};
        Folder* found = locked.mailbox->folder(to.number);
        require(found, "ErrorFolderNotFound",
                "The specified folder could not be found in the store.");
        Folder& target = *found;
        Item& result = copy ? locked.mailbox->add(target, *locked.item)
                            : locked.mailbox->move(*locked.folder, locked.item->number, target);
        if (wants_ids == "false")
            answer.success().append_child("m:Items");
        else
            answer_id(answer, *locked.mailbox, target, result);
    });
    return answer.text();
}

}  // namespace

std::string create_item(Context& context, pugi::xml_node request) {
    Answer answer("CreateItem");
    pugi::xml_node saved = child(request, "SavedItemFolderId");
    std::optional<FolderRef> given;
    each_of_batch(context, answer, child(request, "Items"), [&](pugi::xml_node node) {
        const ItemClass* item_class = class_by_element(local_name(node));
        if (!item_class)
            throw ItemError{"ErrorInvalidItemForOperationCreateItem",
                            "Items of this class cannot be created here."};
        if (saved && !given)
            given = resolve_folder(context, first_element(saved));
        const FolderRef ref = given ? *given : standard_folder(context, *item_class);
        Item item;
        item.item_class = item_class;
        apply_changes(item.values, *item_class, read_new_item(node, *item_class), true);
        std::lock_guard lock(ref.mailbox->mutex);
        Folder* folder = ref.mailbox->folder(ref.number);
        require(folder, "ErrorFolderNotFound",
                "The specified folder could not be found in the store.");
        check_new(request, *item_class, *folder);
        answer_id(answer, *ref.mailbox, *folder, ref.mailbox->add(*folder, std::move(item)));
    });
    return answer.text();
}

std::string update_item(Context& context, pugi::xml_node request) {
    Answer answer("UpdateItem");
    std::string_view resolution = request.attribute("ConflictResolution").value();
    bool calendar_ready = request.attribute("SendMeetingInvitationsOrCancellations");
    each_of_batch(context, answer, child(request, "ItemChanges"), [&](pugi::xml_node change) {
        pugi::xml_node id = first_element(change);
        LockedItem locked = lock_item(context, id);
        Item& item = *locked.item;
        check_change_key(id, item, resolution);
        require(calendar_ready || item.item_class->element != "CalendarItem",
                "ErrorSendMeetingInvitationsOrCancellationsRequired",
                "SendMeetingInvitationsOrCancellations attribute is required for Calendar items.");
        Changes changes = read_updates(child(change, "Updates"), *item.item_class);
        PropertyBag values = item.values;
        apply_changes(values, *item.item_class, changes, false);
        locked.mailbox->replace(*locked.folder, item, std::move(values));
        pugi::xml_node message = answer.success();
        std::string element = "t:" + std::string(item.item_class->element);
        write_item_id(message.append_child("m:Items").append_child(element.c_str()),
                      *locked.mailbox, *locked.folder, item);
        add_text(message.append_child("m:ConflictResults"), "t:Count", "0");
    });
    return answer.text();
}

std::string delete_item(Context& context, pugi::xml_node request) {
    Answer answer("DeleteItem");
    std::string_view type = request.attribute("DeleteType").value();
    each_of_batch(context, answer, child(request, "ItemIds"), [&](pugi::xml_node id) {
        LockedItem locked = lock_item(context, id);
        check_deletion(request, *locked.item);
        Folder* bin = bin_for(*locked.mailbox, type);
        if (!bin)
            locked.mailbox->remove(*locked.folder, locked.item->number);
        else if (bin != locked.folder)
            locked.mailbox->move(*locked.folder, locked.item->number, *bin);
        answer.success();
    });
    return answer.text();
}

std::string get_item(Context& context, pugi::xml_node request) {
    Answer answer("GetItem");
    std::optional<Shape> shape;
    each_of_batch(context, answer, child(request, "ItemIds"), [&](pugi::xml_node id) {
        if (!shape)
            shape.emplace(child(request, "ItemShape"), Shape::Use::get,
                          context.property_sets_as_guid);
        LockedItem locked = lock_item(context, id);
        shape->write(answer.success().append_child("m:Items"), *locked.mailbox, *locked.folder,
                     *locked.item);
    });
    return answer.text();
}

std::string move_item(Context& context, pugi::xml_node request) {
    return move_or_copy(context, request, "MoveItem", false);
}

std::string copy_item(Context& context, pugi::xml_node request) {
    return move_or_copy(context, request, "CopyItem", true);
}

}  // namespace stand_in
