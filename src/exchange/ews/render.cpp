// One function per operation. Nobody is ever mailed: every write says SendToNone and SaveOnly,
// which calendar items demand and the others ignore.
#include <algorithm>
#include <pugixml.hpp>
#include <stdexcept>

#include "exchange/ews/field_uri.h"
#include "exchange/ews/item_reading.h"
#include "exchange/ews/item_writing.h"
#include "exchange/ews/protocol.h"
#include "exchange/ews/request.h"

namespace crmsync::exchange::ews {
namespace {

// Bytes that an honest answer stays far below: a response message with an id takes about 600, a
// whole contact with long notes rarely 100,000.
constexpr std::size_t small_answer = 256u << 10;
constexpr std::size_t answer_per_item = 16u << 10;
constexpr std::size_t large_answer = 32u << 20;
constexpr const char* stamps_per_page = "1000";
constexpr const char* changes_per_page = "512";  // the most that Exchange allows

std::size_t answer_limit(std::size_t items) {
    return small_answer + items * answer_per_item;
}

// Base64 is a third longer than the content, and there may be line ends in it.
std::size_t answer_limit(const std::vector<Attachment>& attachments) {
    std::size_t limit = small_answer;
    for (const Attachment& attachment : attachments) {
        limit += answer_per_item + attachment.size * 3 / 2;
    }
    return limit;
}

void require_items(bool empty) {
    if (empty) {
        throw std::invalid_argument("the operation names no items");
    }
}

const char* folder_element(record::Object object) {
    switch (object) {
        case record::Object::contact:
            return "t:ContactsFolder";
        case record::Object::event:
            return "t:CalendarFolder";
        case record::Object::task:
            return "t:TasksFolder";
    }
    return "t:Folder";
}

void add_folder_shape(pugi::xml_node operation, bool with_name) {
    pugi::xml_node shape = add(operation, "m:FolderShape");
    add_text(shape, "t:BaseShape", "IdOnly");
    if (with_name) {
        set(add(add(shape, "t:AdditionalProperties"), "t:FieldURI"), "FieldURI",
            "folder:DisplayName");
    }
}

void add_constant(pugi::xml_node comparison, const std::string& value) {
    set(add(add(comparison, "t:FieldURIOrConstant"), "t:Constant"), "Value",
        sendable(value).c_str());
}

net::Request render_operation(const FindFolder& find, const Account& account) {
    if (find.name.empty()) {
        Request request(account, "m:GetFolder");
        add_folder_shape(request.operation(), false);
        add_default_folder(add(request.operation(), "m:FolderIds"), find.object, account);
        return request.finish(small_answer);
    }
    Request request(account, "m:FindFolder");
    set(request.operation(), "Traversal", "Shallow");
    add_folder_shape(request.operation(), true);
    pugi::xml_node equal = add(add(request.operation(), "m:Restriction"), "t:IsEqualTo");
    set(add(equal, "t:FieldURI"), "FieldURI", "folder:DisplayName");
    add_constant(equal, find.name);
    add_default_folder(add(request.operation(), "m:ParentFolderIds"), find.object, account);
    return request.finish(small_answer);
}

net::Request render_operation(const LocateFolder& locate, const Account& account) {
    Request request(account, "m:GetFolder");
    pugi::xml_node shape = add(request.operation(), "m:FolderShape");
    add_text(shape, "t:BaseShape", "IdOnly");
    set(add(add(shape, "t:AdditionalProperties"), "t:FieldURI"), "FieldURI",
        "folder:ParentFolderId");
    pugi::xml_node ids = add(request.operation(), "m:FolderIds");
    add_folder_id(ids, locate.folder_id);
    add_distinguished_folder(ids, "deleteditems", account);
    add_default_folder(ids, locate.object, account);
    return request.finish(small_answer);
}

// No more than one page: who has deleted more folders than that has to empty them.
net::Request render_operation(const SearchDeleted&, const Account& account) {
    Request request(account, "m:FindFolder");
    set(request.operation(), "Traversal", "Deep");
    add_folder_shape(request.operation(), false);
    pugi::xml_node page = add(request.operation(), "m:IndexedPageFolderView");
    set(page, "MaxEntriesReturned", "1000");
    set(page, "Offset", "0");
    set(page, "BasePoint", "Beginning");
    add_distinguished_folder(add(request.operation(), "m:ParentFolderIds"), "deleteditems",
                             account);
    return request.finish(large_answer);
}

net::Request render_operation(const CreateFolder& create, const Account& account) {
    Request request(account, "m:CreateFolder");
    add_default_folder(add(request.operation(), "m:ParentFolderId"), create.object, account);
    pugi::xml_node folder =
        add(add(request.operation(), "m:Folders"), folder_element(create.object));
    add_text(folder, "t:DisplayName", sendable(create.name));
    return request.finish(small_answer);
}

net::Request render_operation(const DeleteFolder& remove, const Account& account) {
    Request request(account, "m:DeleteFolder");
    set(request.operation(), "DeleteType", "HardDelete");
    add_folder_id(add(request.operation(), "m:FolderIds"), remove.folder_id);
    return request.finish(small_answer);
}

void add_stamp_shape(pugi::xml_node operation, int offset) {
    pugi::xml_node shape = add(operation, "m:ItemShape");
    add_text(shape, "t:BaseShape", "IdOnly");
    pugi::xml_node more = add(shape, "t:AdditionalProperties");
    add_stamp_uri(more);
    add_attempt_uri(more);
    pugi::xml_node page = add(operation, "m:IndexedPageItemView");
    set(page, "MaxEntriesReturned", stamps_per_page);
    set(page, "Offset", std::to_string(offset).c_str());
    set(page, "BasePoint", "Beginning");
}

net::Request render_operation(const ListStamps& list, const Account& account) {
    Request request(account, "m:FindItem");
    set(request.operation(), "Traversal", "Shallow");
    add_stamp_shape(request.operation(), list.offset);
    add_stamp_uri(add(add(request.operation(), "m:Restriction"), "t:Exists"));
    add_folder_id(add(request.operation(), "m:ParentFolderIds"), list.folder_id);
    return request.finish(large_answer);
}

net::Request render_operation(const ListChanges& list, const Account& account) {
    Request request(account, "m:SyncFolderItems");
    add_text(add(request.operation(), "m:ItemShape"), "t:BaseShape", "IdOnly");
    add_folder_id(add(request.operation(), "m:SyncFolderId"), list.folder_id);
    if (!list.state.empty()) {
        add_text(request.operation(), "m:SyncState", list.state);
    }
    add_text(request.operation(), "m:MaxChangesReturned", changes_per_page);
    add_text(request.operation(), "m:SyncScope", "NormalItems");
    return request.finish(large_answer);
}

net::Request render_operation(const FindStamps& find, const Account& account) {
    require_items(find.stamps.empty());
    Request request(account, "m:FindItem");
    set(request.operation(), "Traversal", "Shallow");
    add_stamp_shape(request.operation(), 0);
    pugi::xml_node restriction = add(request.operation(), "m:Restriction");
    if (find.stamps.size() > 1) {
        restriction = add(restriction, "t:Or");
    }
    for (const std::string& stamp : find.stamps) {
        pugi::xml_node equal = add(restriction, "t:IsEqualTo");
        add_stamp_uri(equal);
        add_constant(equal, stamp);
    }
    add_folder_id(add(request.operation(), "m:ParentFolderIds"), find.folder_id);
    return request.finish(large_answer);
}

net::Request render_operation(const CreateItems& create, const Account& account) {
    require_items(create.items.empty());
    Request request(account, "m:CreateItem");
    set(request.operation(), "MessageDisposition", "SaveOnly");
    set(request.operation(), "SendMeetingInvitations", "SendToNone");
    add_folder_id(add(request.operation(), "m:SavedItemFolderId"), create.folder_id);
    pugi::xml_node items = add(request.operation(), "m:Items");
    for (const NewItem& item : create.items) {
        add_new_item(items, create.object, item, create.attempt);
    }
    return request.finish(answer_limit(create.items.size()));
}

pugi::xml_node add_update(Request& request, const char* conflict_resolution) {
    set(request.operation(), "ConflictResolution", conflict_resolution);
    set(request.operation(), "MessageDisposition", "SaveOnly");
    set(request.operation(), "SendMeetingInvitationsOrCancellations", "SendToNone");
    return add(request.operation(), "m:ItemChanges");
}

pugi::xml_node add_change(pugi::xml_node changes, const ItemReference& item) {
    pugi::xml_node change = add(changes, "t:ItemChange");
    add_item_id(change, item, true);
    return add(change, "t:Updates");
}

// NeverOverwrite, so that a change that we have not seen is noticed, merged and recorded.
net::Request render_operation(const UpdateItems& update, const Account& account) {
    require_items(update.items.empty());
    Request request(account, "m:UpdateItem");
    pugi::xml_node changes = add_update(request, "NeverOverwrite");
    for (const ItemChange& item : update.items) {
        const bool nothing = std::all_of(
            item.fields.begin(), item.fields.end(),
            [](const record::Field& field) { return record::travels_apart(*field.property); });
        require_items(nothing && item.stamp.empty());
        add_updates(add_change(changes, item.item), update.object, item);
    }
    return request.finish(answer_limit(update.items.size()));
}

net::Request render_operation(const RemoveStamps& remove, const Account& account) {
    require_items(remove.items.empty());
    Request request(account, "m:UpdateItem");
    // Nobody else writes the stamp: whatever else changed, removing it cannot undo.
    pugi::xml_node changes = add_update(request, "AlwaysOverwrite");
    for (const ItemReference& item : remove.items) {
        pugi::xml_node updates = add_change(changes, item);
        add_stamp_uri(add(updates, "t:DeleteItemField"));
        add_attempt_uri(add(updates, "t:DeleteItemField"));
    }
    return request.finish(answer_limit(remove.items.size()));
}

// Without change keys: a delete is meant whatever the item has become.
net::Request render_operation(const DeleteItems& remove, const Account& account) {
    require_items(remove.items.empty());
    Request request(account, "m:DeleteItem");
    set(request.operation(), "DeleteType", remove.hard ? "HardDelete" : "MoveToDeletedItems");
    set(request.operation(), "SendMeetingCancellations", "SendToNone");
    set(request.operation(), "AffectedTaskOccurrences", "AllOccurrences");
    pugi::xml_node ids = add(request.operation(), "m:ItemIds");
    for (const ItemReference& item : remove.items) {
        add_item_id(ids, item, false);
    }
    return request.finish(answer_limit(remove.items.size()));
}

net::Request render_operation(const GetItems& get, const Account& account) {
    require_items(get.ids.empty());
    Request request(account, "m:GetItem");
    add_shape(request.operation(), get.layout, get.key_property, !get.deleted_folder.empty());
    pugi::xml_node ids = add(request.operation(), "m:ItemIds");
    for (const std::string& id : get.ids) {
        add_item_id(ids, {.id = id, .change_key = {}}, false);
    }
    return request.finish(large_answer);
}

void add_attachment_ids(pugi::xml_node operation, const std::vector<Attachment>& attachments) {
    require_items(attachments.empty());
    pugi::xml_node ids = add(operation, "m:AttachmentIds");
    for (const Attachment& attachment : attachments) {
        set(add(ids, "t:AttachmentId"), "Id", attachment.id.c_str());
    }
}

net::Request render_operation(const GetAttachments& get, const Account& account) {
    Request request(account, "m:GetAttachment");
    add_attachment_ids(request.operation(), get.attachments);
    return request.finish(answer_limit(get.attachments));
}

// Without a change key: what it is attached to was looked at just now.
net::Request render_operation(const CreateAttachment& create, const Account& account) {
    require_items(!create.content || create.content->empty());
    Request request(account, "m:CreateAttachment");
    set(add(request.operation(), "m:ParentItemId"), "Id", create.item.id.c_str());
    pugi::xml_node file = add(add(request.operation(), "m:Attachments"), "t:FileAttachment");
    add_text(file, "t:Name", "ContactPicture.jpg");  // what Outlook looks for, whatever it is
    add_text(file, "t:ContentType", create.content_type);
    add_text(file, "t:IsContactPhoto", "true");
    add_text(file, "t:Content", *create.content);
    return request.finish(small_answer);
}

net::Request render_operation(const DeleteAttachment& remove, const Account& account) {
    Request request(account, "m:DeleteAttachment");
    add_attachment_ids(request.operation(), {remove.attachment});
    return request.finish(small_answer);
}

}  // namespace

net::Request render(const Operation& operation, const Account& account) {
    return std::visit([&](const auto& one) { return render_operation(one, account); }, operation);
}

}  // namespace crmsync::exchange::ews
