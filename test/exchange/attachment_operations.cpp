#include "attachment_operations.hpp"

#include "shape.hpp"

#include <algorithm>

namespace stand_in {

namespace {

/// base64Binary of the schema may have white space in it.
std::string read_content(pugi::xml_node file) {
    std::string text = child(file, "Content").child_value();
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; });
    return text.empty() ? std::string() : decode_base64(text).value_or("");
}

Attachment read_attachment(pugi::xml_node file) {
    if (local_name(file) != "FileAttachment")
        throw ItemError{"ErrorInvalidOperation", "Only files are attached here."};
    Attachment attachment;
    attachment.name = child(file, "Name").child_value();
    attachment.content_type = child(file, "ContentType").child_value();
    attachment.is_contact_photo = child(file, "IsContactPhoto").text().as_bool();
    attachment.content = read_content(file);
    if (attachment.name.empty())
        throw ItemError{"ErrorRequiredPropertyMissing", "The attachment has no name."};
    return attachment;
}

/// An attachment as a request names it, the mailbox of its item locked.
struct LockedAttachment {
    LockedItem locked;
    const Attachment* attachment = nullptr;
};

LockedAttachment lock_attachment(const Context& context, pugi::xml_node id) {
    auto key = parse_attachment_id(id.attribute("Id").value());
    if (!key)
        throw ItemError{"ErrorInvalidIdMalformed", "Id is malformed."};
    LockedAttachment found{lock_item(context, key->item), nullptr};
    const auto& all = found.locked.item->attachments;
    auto at = std::find_if(all.begin(), all.end(),
                           [&](const Attachment& one) { return one.number == key->number; });
    if (at == all.end())
        throw ItemError{"ErrorInvalidAttachmentId",
                        "The attachment was not found within the attachments table on the item."};
    found.attachment = &*at;
    return found;
}

void write_root(pugi::xml_node to, const LockedItem& locked) {
    to.append_attribute("RootItemId") =
        format_item_id(locked.mailbox->key(*locked.folder, *locked.item)).c_str();
    bool calendar = locked.item->item_class->element == "CalendarItem";
    to.append_attribute("RootItemChangeKey") =
        format_change_key(locked.mailbox->guid, locked.item->change, calendar).c_str();
}

}  // namespace

std::string create_attachment(Context& context, pugi::xml_node request) {
    Answer answer("CreateAttachment");
    std::string parent = child(request, "ParentItemId").attribute("Id").value();
    each_of_batch(context, answer, child(request, "Attachments"), [&](pugi::xml_node file) {
        auto key = parse_item_id(parent);
        if (!key)
            throw ItemError{"ErrorInvalidIdMalformed", "Id is malformed."};
        LockedItem locked = lock_item(context, *key);
        std::uint64_t number =
            locked.mailbox->attach(*locked.folder, *locked.item, read_attachment(file));
        pugi::xml_node id = answer.success()
                                .append_child("m:Attachments")
                                .append_child("t:FileAttachment")
                                .append_child("t:AttachmentId");
        id.append_attribute("Id") =
            format_attachment_id({locked.mailbox->key(*locked.folder, *locked.item), number})
                .c_str();
        write_root(id, locked);
    });
    return answer.text();
}

std::string get_attachment(Context& context, pugi::xml_node request) {
    Answer answer("GetAttachment");
    each_of_batch(context, answer, child(request, "AttachmentIds"), [&](pugi::xml_node id) {
        LockedAttachment found = lock_attachment(context, id);
        pugi::xml_node file =
            write_attachment(answer.success().append_child("m:Attachments"), *found.locked.mailbox,
                             *found.locked.folder, *found.locked.item, *found.attachment);
        add_text(file, "t:Content", encode_base64(found.attachment->content));
    });
    return answer.text();
}

std::string delete_attachment(Context& context, pugi::xml_node request) {
    Answer answer("DeleteAttachment");
    each_of_batch(context, answer, child(request, "AttachmentIds"), [&](pugi::xml_node id) {
        LockedAttachment found = lock_attachment(context, id);
        LockedItem& locked = found.locked;
        locked.mailbox->detach(*locked.folder, *locked.item, found.attachment->number);
        write_root(answer.success().append_child("m:RootItemId"), locked);
    });
    return answer.text();
}

}  // namespace stand_in
