#include "shape.hpp"

#include "computed.hpp"
#include "errors.hpp"
#include "extended_property.hpp"
#include "soap.hpp"

namespace stand_in {

namespace {

// What BaseShape Default shows beside the id (MS documentation of the item response shapes).
const std::unordered_set<std::string>& default_uris() {
    static const std::unordered_set<std::string> uris{"item:Subject",
                                                      "item:HasAttachments",
                                                      "item:Culture",
                                                      "item:Body",
                                                      "contacts:FileAs",
                                                      "contacts:FileAsMapping",
                                                      "contacts:DisplayName",
                                                      "contacts:CompleteName",
                                                      "contacts:CompanyName",
                                                      "contacts:EmailAddresses",
                                                      "contacts:PhysicalAddresses",
                                                      "contacts:PhoneNumbers",
                                                      "contacts:ImAddresses",
                                                      "contacts:JobTitle",
                                                      "contacts:GivenName",
                                                      "contacts:Surname",
                                                      "calendar:Start",
                                                      "calendar:End",
                                                      "calendar:IsAllDayEvent",
                                                      "calendar:LegacyFreeBusyStatus",
                                                      "calendar:Location",
                                                      "calendar:CalendarItemType",
                                                      "calendar:Organizer",
                                                      "calendar:UID",
                                                      "task:DueDate",
                                                      "task:PercentComplete",
                                                      "task:StartDate",
                                                      "task:Status"};
    return uris;
}

const std::string_view kEmailUri = "contacts:EmailAddress";

}  // namespace

void write_item_id(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                   const Item& item) {
    pugi::xml_node id = parent.append_child("t:ItemId");
    id.append_attribute("Id") = format_item_id(mailbox.key(folder, item)).c_str();
    bool calendar = item.item_class->element == "CalendarItem";
    id.append_attribute("ChangeKey") =
        format_change_key(mailbox.guid, item.change, calendar).c_str();
}

pugi::xml_node write_attachment(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                                const Item& item, const Attachment& attachment) {
    pugi::xml_node file = parent.append_child("t:FileAttachment");
    file.append_child("t:AttachmentId").append_attribute("Id") =
        format_attachment_id({mailbox.key(folder, item), attachment.number}).c_str();
    add_text(file, "t:Name", attachment.name);
    if (!attachment.content_type.empty())
        add_text(file, "t:ContentType", attachment.content_type);
    // A real server counts the properties of the attachment, too.
    add_text(file, "t:Size", std::to_string(attachment.content.size() + 300));
    add_text(file, "t:LastModifiedTime", format_date_time(attachment.modified));
    add_text(file, "t:IsInline", "false");
    add_text(file, "t:IsContactPhoto", attachment.is_contact_photo ? "true" : "false");
    return file;
}

namespace {

/// Outlook keeps birthdays and anniversaries without a time zone, too, and that counts.
std::optional<std::string_view> local_day(const Row& row, const PropertyBag& values) {
    const char* id = row.uri == "contacts:Birthday"             ? "0x80de"
                     : row.uri == "contacts:WeddingAnniversary" ? "0x80df"
                                                                : nullptr;
    if (!id)
        return std::nullopt;
    return values.get(slot_of_extended(std::string(kAddressSet) + "/" + id, "SystemTime"));
}

}  // namespace

Shape::Shape(pugi::xml_node item_shape, Use use, bool as_guid) : use_(use), as_guid_(as_guid) {
    std::string_view base = child(item_shape, "BaseShape").child_value();
    if (base == "IdOnly")
        base_ = Base::id_only;
    else if (base == "Default")
        base_ = Base::normal;
    body_type_ = child(item_shape, "BodyType").child_value();
    for (pugi::xml_node path : child(item_shape, "AdditionalProperties").children()) {
        std::string_view kind = local_name(path);
        std::string uri = path.attribute("FieldURI").value();
        if (kind == "ExtendedFieldURI") {
            extended_.emplace_back(slot_of_path(path), path);
        } else if (kind == "IndexedFieldURI") {
            members_.insert(slot_of(uri, path.attribute("FieldIndex").value()));
        } else {
            bool refused = uri == "contacts:PhysicalAddresses" || uri == "contacts:PhoneNumbers" ||
                           (use == Use::find && (uri == "item:Body" || uri == "item:Attachments"));
            if (refused)
                throw ItemError{"ErrorInvalidPropertyRequest",
                                "Property is not valid for this operation.",
                                {{{"FieldURI", uri}}, false}};
            uris_.insert(uri);
        }
    }
}

bool Shape::wants(const Row& row) const {
    if (row.element == "ItemId" || uris_.contains(row.uri))
        return true;
    if (base_ == Base::all)
        return use_ == Use::get || (row.kind != Kind::body && row.element != "Attachments");
    return base_ == Base::normal && default_uris().contains(row.uri) &&
           (use_ == Use::get || row.kind != Kind::body);
}

bool Shape::wants_member(const Row& row, SlotId id) const {
    return wants(row) || members_.contains(id);
}

void Shape::write(pugi::xml_node parent, const Mailbox& mailbox, const Folder& folder,
                  const Item& item) const {
    pugi::xml_node to = parent.append_child(("t:" + std::string(item.item_class->element)).c_str());
    for (const Row& row : item.item_class->rows)
        write_row(to, row, mailbox, folder, item);
}

void Shape::write_row(pugi::xml_node to, const Row& row, const Mailbox& mailbox,
                      const Folder& folder, const Item& item) const {
    const PropertyBag& values = item.values;
    switch (row.kind) {
        case Kind::unused:
            return;
        case Kind::emails:
            return write_emails(to, row, values);
        case Kind::phones:
        case Kind::ims:
            return write_entries(to, row, values);
        case Kind::addresses:
            return write_addresses(to, row, values);
        case Kind::extended:
            return write_extended_all(to, values);
        default:
            break;
    }
    if (!wants(row))
        return;
    if (row.kind == Kind::computed)
        return write_computed(to, row.element, mailbox, folder, item);
    if (row.kind == Kind::body)
        return write_body(to, row, values);
    auto value = local_day(row, values);
    if (!value)
        value = values.get(row.slot);
    std::string name = "t:" + std::string(row.element);
    if (!value) {
        if (row.initial)
            add_text(to, name.c_str(), row.initial);
    } else if (row.kind == Kind::xml) {
        to.append_buffer(value->data(), value->size(),
                         pugi::parse_default | pugi::parse_ws_pcdata_single | pugi::parse_fragment);
    } else if (row.kind == Kind::strings) {
        pugi::xml_node list = to.append_child(name.c_str());
        each_member(*value, [&](std::string_view member) { add_text(list, "t:String", member); });
    } else {
        add_text(to, name.c_str(), *value);
    }
}

void Shape::write_body(pugi::xml_node to, const Row& row, const PropertyBag& values) const {
    static const SlotId type_slot = slot_of("item:Body@BodyType");
    std::string type(values.get(type_slot).value_or("Text"));
    if (body_type_ == "Text" || body_type_ == "HTML")
        type = body_type_;
    pugi::xml_node body = add_text(to, "t:Body", values.get(row.slot).value_or(""));
    body.append_attribute("BodyType") = type.c_str();
}

void Shape::write_emails(pugi::xml_node to, const Row& row, const PropertyBag& values) const {
    pugi::xml_node list;
    for (std::string_view key : email_keys()) {
        SlotId id = slot_of(kEmailUri, key);
        auto part = [&](const char* suffix) {
            return values.get(slot_of(kEmailUri, std::string(key) + suffix));
        };
        auto original = part("@Original"), name = part("@Name");
        auto address = values.get(id);
        // The entry is there as long as any part of its group is.
        if (!wants_member(row, id) || (!address && !original && !name))
            continue;
        if (!list)
            list = to.append_child("t:EmailAddresses");
        std::string_view shown = address ? *address : original ? *original : *name;
        pugi::xml_node entry = add_text(list, "t:Entry", shown);
        entry.append_attribute("Key") = std::string(key).c_str();
        if (name)
            entry.append_attribute("Name") = std::string(*name).c_str();
        if (auto type = part("@Type"))
            entry.append_attribute("RoutingType") = std::string(*type).c_str();
        entry.append_attribute("MailboxType") = "Contact";
    }
}

void Shape::write_entries(pugi::xml_node to, const Row& row, const PropertyBag& values) const {
    bool phones = row.kind == Kind::phones;
    std::string_view uri = phones ? "contacts:PhoneNumber" : "contacts:ImAddress";
    if (!wants(row) && members_.empty())
        return;
    pugi::xml_node list;
    for (std::string_view key : phones ? phone_keys() : im_keys()) {
        SlotId id = slot_of(uri, key);
        auto value = values.get(id);
        if (!value || !wants_member(row, id))
            continue;
        if (!list)
            list = to.append_child(("t:" + std::string(row.element)).c_str());
        add_text(list, "t:Entry", *value).append_attribute("Key") = std::string(key).c_str();
    }
}

void Shape::write_addresses(pugi::xml_node to, const Row& row, const PropertyBag& values) const {
    if (!wants(row) && members_.empty())
        return;
    pugi::xml_node list;
    for (std::string_view key : address_keys()) {
        pugi::xml_node entry;
        for (std::string_view part : address_parts()) {
            SlotId id = slot_of("contacts:PhysicalAddress:" + std::string(part), key);
            auto value = values.get(id);
            if (!value || !wants_member(row, id))
                continue;
            if (!list)
                list = to.append_child("t:PhysicalAddresses");
            if (!entry) {
                entry = list.append_child("t:Entry");
                entry.append_attribute("Key") = std::string(key).c_str();
            }
            add_text(entry, ("t:" + std::string(part)).c_str(), *value);
        }
    }
}

void Shape::write_extended_all(pugi::xml_node to, const PropertyBag& values) const {
    for (const auto& [id, path] : extended_)
        if (auto value = values.get(id))
            write_extended(to, path, *value, as_guid_);
}

}  // namespace stand_in
