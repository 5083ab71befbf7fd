#include "operation.hpp"

#include "attachment_operations.hpp"
#include "folder_operations.hpp"
#include "item_operations.hpp"
#include "other_operations.hpp"
#include "search_operations.hpp"
#include "sync_operations.hpp"

#include <unordered_map>

namespace stand_in {

namespace {

void check_access(const Context& context, const MailboxPtr& mailbox) {
    if (context.mailbox && context.impersonated && mailbox != context.mailbox)
        throw ItemError{"ErrorAccessDenied", "Access is denied. Check credentials and try again."};
}

MailboxPtr mailbox_of(const Context& context, const Guid& guid, const char* code) {
    MailboxPtr mailbox = context.directory.find(guid);
    if (!mailbox)
        throw ItemError{code, "The specified object was not found in the store."};
    check_access(context, mailbox);
    return mailbox;
}

}  // namespace

Operation find_operation(std::string_view name) {
    static const std::unordered_map<std::string_view, Operation> all{
        {"CreateItem", create_item},
        {"UpdateItem", update_item},
        {"DeleteItem", delete_item},
        {"GetItem", get_item},
        {"MoveItem", move_item},
        {"CopyItem", copy_item},
        {"CreateAttachment", create_attachment},
        {"GetAttachment", get_attachment},
        {"DeleteAttachment", delete_attachment},
        {"FindItem", find_item},
        {"SyncFolderItems", sync_folder_items},
        {"SyncFolderHierarchy", sync_folder_hierarchy},
        {"GetFolder", get_folder},
        {"FindFolder", find_folder},
        {"CreateFolder", create_folder},
        {"UpdateFolder", update_folder},
        {"DeleteFolder", delete_folder},
        {"EmptyFolder", empty_folder},
        {"ResolveNames", resolve_names},
        {"ConvertId", convert_id},
        {"GetServerTimeZones", get_server_time_zones},
    };
    auto found = all.find(name);
    return found == all.end() ? nullptr : found->second;
}

FolderRef resolve_folder(const Context& context, pugi::xml_node id) {
    constexpr const char* missing = "The specified folder could not be found in the store.";
    if (local_name(id) == "FolderId") {
        auto key = parse_folder_id(id.attribute("Id").value());
        if (!key)
            throw ItemError{"ErrorInvalidIdMalformed", "Id is malformed."};
        MailboxPtr mailbox = mailbox_of(context, key->mailbox, "ErrorFolderNotFound");
        std::lock_guard lock(mailbox->mutex);
        if (!mailbox->folder(key->folder))
            throw ItemError{"ErrorFolderNotFound", missing};
        return {mailbox, key->folder};
    }
    MailboxPtr mailbox = context.mailbox;
    if (pugi::xml_node other = child(id, "Mailbox")) {
        mailbox = context.directory.find(child(other, "EmailAddress").child_value());
        if (!mailbox)
            throw ItemError{"ErrorNonExistentMailbox",
                            "The SMTP address has no mailbox associated with it."};
        check_access(context, mailbox);
    }
    if (!mailbox)
        throw ItemError{"ErrorMissingEmailAddress",
                        "When making a request as an account that does not have a mailbox, you "
                        "must specify the mailbox primary SMTP address for any distinguished "
                        "folder Ids."};
    std::lock_guard lock(mailbox->mutex);
    Folder* folder = mailbox->distinguished(id.attribute("Id").value());
    if (!folder)
        throw ItemError{"ErrorFolderNotFound", missing};
    return {mailbox, folder->number};
}

LockedItem lock_item(const Context& context, pugi::xml_node id) {
    auto key = parse_item_id(id.attribute("Id").value());
    if (local_name(id) != "ItemId" || !key)
        throw ItemError{"ErrorInvalidIdMalformed", "Id is malformed."};
    return lock_item(context, *key);
}

LockedItem lock_item(const Context& context, const ItemKey& key) {
    MailboxPtr mailbox = mailbox_of(context, key.mailbox, "ErrorItemNotFound");
    LockedItem locked{mailbox, std::unique_lock(mailbox->mutex), nullptr, nullptr};
    locked.folder = mailbox->folder(key.folder);
    locked.item = mailbox->item(key);
    if (!locked.item)
        throw ItemError{"ErrorItemNotFound", "The specified object was not found in the store."};
    return locked;
}

}  // namespace stand_in
