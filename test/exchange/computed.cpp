#include "computed.hpp"

#include "server_rules.hpp"
#include "shape.hpp"
#include "soap.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace stand_in {

namespace {

struct Source {
    mutable pugi::xml_node to;
    const Mailbox& mailbox;
    const Folder& folder;
    const Item& item;

    void text(const char* element, std::string_view value) const { add_text(to, element, value); }
    std::string_view value(std::string_view uri) const {
        return item.values.get(slot_of(uri)).value_or("");
    }
    std::string owner() const { return mailbox.address.substr(0, mailbox.address.find('@')); }
};

void item_id(const Source& s) {
    write_item_id(s.to, s.mailbox, s.folder, s.item);
}

void parent_folder_id(const Source& s) {
    pugi::xml_node id = s.to.append_child("t:ParentFolderId");
    id.append_attribute("Id") = format_folder_id({s.mailbox.guid, s.folder.number}).c_str();
    id.append_attribute("ChangeKey") = "AQAAAA==";
}

void effective_rights(const Source& s) {
    pugi::xml_node rights = s.to.append_child("t:EffectiveRights");
    for (const char* none : {"t:CreateAssociated", "t:CreateContents", "t:CreateHierarchy"})
        add_text(rights, none, "false");
    for (const char* granted : {"t:Delete", "t:Modify", "t:Read"})
        add_text(rights, granted, "true");
}

void read_form(const Source& s) {
    s.text("t:WebClientReadFormQueryString",
           "https://exchange.example.test/owa?ItemID=" +
               format_item_id(s.mailbox.key(s.folder, s.item)) +
               "&exvsurl=1&viewmodel=PersonaCardViewModelFactory");
}

void conversation_id(const Source& s) {
    std::string id(24, '\0');
    id += std::to_string(s.item.created.time_since_epoch().count() + 1'000'000'000'000);
    s.to.append_child("t:ConversationId").append_attribute("Id") = encode_base64(id).c_str();
}

void complete_name(const Source& s) {
    std::string whole = full_name(s.item.values);
    std::string_view nickname = s.value("contacts:Nickname"), title = s.value("tag:0x3a45"),
                     initials = s.value("contacts:Initials");
    if (whole.empty() && nickname.empty() && title.empty() && initials.empty())
        return;
    pugi::xml_node name = s.to.append_child("t:CompleteName");
    auto part = [&](const char* element, std::string_view value) {
        if (!value.empty())
            add_text(name, element, value);
    };
    part("t:Title", title);
    part("t:FirstName", s.value("contacts:GivenName"));
    part("t:MiddleName", s.value("contacts:MiddleName"));
    part("t:LastName", s.value("contacts:Surname"));
    part("t:Suffix", s.value("contacts:Generation"));
    part("t:Initials", initials);
    part("t:FullName", whole);
    part("t:Nickname", nickname);
}

void organizer(const Source& s) {
    pugi::xml_node mailbox = s.to.append_child("t:Organizer").append_child("t:Mailbox");
    add_text(mailbox, "t:Name", s.owner());
    add_text(mailbox, "t:EmailAddress", s.mailbox.address);
    add_text(mailbox, "t:RoutingType", "SMTP");
    add_text(mailbox, "t:MailboxType", "Mailbox");
}

bool has_attendees(const Source& s) {
    return !s.value("calendar:RequiredAttendees").empty() ||
           !s.value("calendar:OptionalAttendees").empty();
}

void status_description(const Source& s) {
    std::string_view status = s.value("task:Status");
    const char* shown = status == "Completed"         ? "Completed"
                        : status == "InProgress"      ? "In Progress"
                        : status == "WaitingOnOthers" ? "Waiting on someone else"
                        : status == "Deferred"        ? "Deferred"
                                                      : "Not Started";
    s.text("t:StatusDescription", shown);
}

void attachments(const Source& s) {
    if (s.item.attachments.empty())
        return;
    pugi::xml_node list = s.to.append_child("t:Attachments");
    for (const Attachment& attachment : s.item.attachments)
        write_attachment(list, s.mailbox, s.folder, s.item, attachment);
}

bool has_picture(const Item& item) {
    return std::any_of(item.attachments.begin(), item.attachments.end(),
                       [](const Attachment& one) { return one.is_contact_photo; });
}

using Write = void (*)(const Source&);

const std::unordered_map<std::string_view, Write>& writers() {
    static const std::unordered_map<std::string_view, Write> all{
        {"ItemId", item_id},
        {"ParentFolderId", parent_folder_id},
        {"Attachments", attachments},
        {"HasAttachments",
         [](const Source& s) {
             s.text("t:HasAttachments", s.item.attachments.empty() ? "false" : "true");
         }},
        {"HasPicture",
         [](const Source& s) {
             if (has_picture(s.item))  // the recorded answers name it nowhere else
                 s.text("t:HasPicture", "true");
         }},
        {"DateTimeReceived",
         [](const Source& s) { s.text("t:DateTimeReceived", format_date_time(s.item.created)); }},
        {"DateTimeSent",
         [](const Source& s) { s.text("t:DateTimeSent", format_date_time(s.item.created)); }},
        {"DateTimeCreated",
         [](const Source& s) { s.text("t:DateTimeCreated", format_date_time(s.item.created)); }},
        {"DateTimeStamp",
         [](const Source& s) { s.text("t:DateTimeStamp", format_date_time(s.item.modified)); }},
        {"LastModifiedTime",
         [](const Source& s) { s.text("t:LastModifiedTime", format_date_time(s.item.modified)); }},
        {"LastModifiedName", [](const Source& s) { s.text("t:LastModifiedName", s.owner()); }},
        {"Size", [](const Source& s) { s.text("t:Size", std::to_string(s.item.bytes())); }},
        {"IsDraft",
         [](const Source& s) {
             bool contact = s.item.item_class->element == "Contact";
             s.text("t:IsDraft", contact ? "true" : "false");
         }},
        {"EffectiveRights", effective_rights},
        {"WebClientReadFormQueryString", read_form},
        {"ConversationId", conversation_id},
        {"CompleteName", complete_name},
        {"IsMeeting",
         [](const Source& s) { s.text("t:IsMeeting", has_attendees(s) ? "true" : "false"); }},
        {"CalendarItemType",
         [](const Source& s) {
             bool recurring = !s.value("calendar:Recurrence").empty();
             s.text("t:CalendarItemType", recurring ? "RecurringMaster" : "Single");
         }},
        {"Organizer", organizer},
        {"IsComplete",
         [](const Source& s) {
             s.text("t:IsComplete", s.value("task:Status") == "Completed" ? "true" : "false");
         }},
        {"IsRecurring",
         [](const Source& s) {
             s.text("t:IsRecurring", s.value("task:Recurrence").empty() ? "false" : "true");
         }},
        {"Owner", [](const Source& s) { s.text("t:Owner", s.owner()); }},
        {"StatusDescription", status_description},
    };
    return all;
}

}  // namespace

void write_computed(pugi::xml_node to, std::string_view element, const Mailbox& mailbox,
                    const Folder& folder, const Item& item) {
    auto found = writers().find(element);
    if (found != writers().end())
        found->second({to, mailbox, folder, item});
}

}  // namespace stand_in
