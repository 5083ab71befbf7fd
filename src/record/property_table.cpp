// Every property of the vocabulary, one row each. The rows stand in the order in which EWS wants
// the elements of an item (types.xsd: ItemType, then ContactItemType, CalendarItemType, TaskType),
// so that writing an item is walking over its fields sorted by position.
#include "record/property_table.h"

#include <array>

namespace crmsync::record {
namespace {

constexpr std::uint8_t contact = static_cast<std::uint8_t>(Object::contact);
constexpr std::uint8_t event = static_cast<std::uint8_t>(Object::event);
constexpr std::uint8_t task = static_cast<std::uint8_t>(Object::task);
constexpr std::uint8_t any = contact | event | task;

constexpr Ews element(std::string_view name, std::string_view field_uri) {
    return {.form = EwsForm::element, .element = name, .field_uri = field_uri};
}

constexpr Ews choice(std::string_view name, std::string_view field_uri, std::string_view choices) {
    return {.form = EwsForm::element, .element = name, .field_uri = field_uri, .choices = choices};
}

constexpr Ews structure(std::string_view name, std::string_view field_uri) {
    return {.form = EwsForm::structure, .element = name, .field_uri = field_uri};
}

constexpr Ews body() {
    return {.form = EwsForm::body, .element = "Body", .field_uri = "item:Body"};
}

constexpr Ews email(std::string_view key) {
    return {.form = EwsForm::entry,
            .container = "EmailAddresses",
            .field_uri = "contacts:EmailAddress",
            .index = key};
}

constexpr Ews phone(std::string_view key) {
    return {.form = EwsForm::entry,
            .container = "PhoneNumbers",
            .field_uri = "contacts:PhoneNumber",
            .index = key};
}

constexpr Ews address(std::string_view key, std::string_view part, std::string_view field_uri) {
    return {.form = EwsForm::address_part,
            .container = "PhysicalAddresses",
            .element = part,
            .field_uri = field_uri,
            .index = key};
}

constexpr Ews tag(std::uint32_t id, std::string_view type, std::string_view choices = {}) {
    return {.form = EwsForm::extended_tag, .id = id, .type = type, .choices = choices};
}

constexpr Ews address_set(std::uint32_t id) {
    return {.form = EwsForm::extended_set, .property_set = "Address", .id = id, .type = "String"};
}

constexpr Ews named(std::string_view name) {
    return {.form = EwsForm::named, .element = name, .type = "String"};
}

struct Row {
    std::uint32_t max_length = 0;
    Access access = Access::both;
    bool compared = true;
    std::string_view choices{};
    std::string_view absent{};
};

constexpr Property row(std::string_view name, std::uint8_t objects, Type type, Ews ews,
                       std::string_view graph_path, std::string_view description,
                       const Row& more = {}) {
    return {.name = name,
            .objects = objects,
            .type = type,
            .max_length = more.max_length,
            .access = more.access,
            .compared = more.compared,
            .choices = more.choices,
            .absent = more.absent,
            .ews = ews,
            .graph_path = graph_path,
            .description = description,
            .position = 0};
}

constexpr Row short_text{.max_length = 255};
constexpr Row outbound{.access = Access::outbound, .compared = false};
constexpr Row inbound{.access = Access::inbound};

// clang-format off
constexpr std::array table{
    // What every item has, up to its extended properties.
    row("@mailbox", any, Type::email, Ews{}, "", "the mailbox that the item is in", inbound),
    row("subject", event | task, Type::text, element("Subject", "item:Subject"), "subject", "subject", short_text),
    row("sensitivity", any, Type::choice, choice("Sensitivity", "item:Sensitivity", "Normal,Personal,Private,Confidential"), "sensitivity", "who may see the item", {.choices = "normal,personal,private,confidential", .absent = "normal"}),
    row("notes", contact, Type::text, body(), "personalNotes", "notes, as plain text"),
    row("body", event | task, Type::text, body(), "body/content", "description, as plain text"),
    row("photo", contact, Type::binary, {.form = EwsForm::photo, .field_uri = "item:Attachments"}, "photo/$value", "picture", {.max_length = 1U << 20U}),
    row("categories", any, Type::text_list, {.form = EwsForm::string_list, .element = "Categories", .field_uri = "item:Categories"}, "categories", "categories"),
    row("importance", any, Type::choice, choice("Importance", "item:Importance", "Low,Normal,High"), "importance", "importance", {.choices = "low,normal,high", .absent = "normal"}),
    row("reminder_at", task, Type::timestamp, element("ReminderDueBy", "item:ReminderDueBy"), "reminderDateTime", "when to remind"),
    row("reminder_minutes", event, Type::integer, element("ReminderMinutesBeforeStart", "item:ReminderMinutesBeforeStart"), "reminderMinutesBeforeStart", "minutes before the start at which to remind"),

    // Extended properties: by tag, by the property set of contacts, by name.
    row("title", contact, Type::text, tag(0x3A45, "String"), "title", "title before the name, as Dr."),
    // BusinessHomePage is the same, but takes only what .NET takes for a URI, and refuses the whole request otherwise.
    row("web_page", contact, Type::text, tag(0x3A51, "String"), "businessHomePage", "web page"),
    row("gender", contact, Type::choice, tag(0x3A4D, "Short", "0,1,2"), "singleValueExtendedProperties/Short 0x3A4D", "gender", {.choices = "unspecified,female,male", .absent = "unspecified"}),
    row("business_address", contact, Type::text, address_set(0x801B), "", "business address, the whole in one text", outbound),
    row("home_address", contact, Type::text, address_set(0x801A), "", "home address, the whole in one text", outbound),
    row("other_address", contact, Type::text, address_set(0x801C), "", "other address, the whole in one text", outbound),
    row("email_1_name", contact, Type::text, address_set(0x8080), "emailAddresses/0/name", "name shown for the first e-mail address", outbound),
    row("email_2_name", contact, Type::text, address_set(0x8090), "emailAddresses/1/name", "name shown for the second e-mail address", outbound),
    row("email_3_name", contact, Type::text, address_set(0x80A0), "emailAddresses/2/name", "name shown for the third e-mail address", outbound),
    row("custom_1", contact, Type::text, address_set(0x804F), "singleValueExtendedProperties/String {00062004-0000-0000-C000-000000000046} Id 0x804F", "user field 1"),
    row("custom_2", contact, Type::text, address_set(0x8050), "singleValueExtendedProperties/String {00062004-0000-0000-C000-000000000046} Id 0x8050", "user field 2"),
    row("custom_3", contact, Type::text, address_set(0x8051), "singleValueExtendedProperties/String {00062004-0000-0000-C000-000000000046} Id 0x8051", "user field 3"),
    row("custom_4", contact, Type::text, address_set(0x8052), "singleValueExtendedProperties/String {00062004-0000-0000-C000-000000000046} Id 0x8052", "user field 4"),
    row("custom_5", contact, Type::text, named("custom_5"), "singleValueExtendedProperties/custom_5", "user field 5"),
    row("custom_6", contact, Type::text, named("custom_6"), "singleValueExtendedProperties/custom_6", "user field 6"),
    row("custom_7", contact, Type::text, named("custom_7"), "singleValueExtendedProperties/custom_7", "user field 7"),
    row("custom_8", contact, Type::text, named("custom_8"), "singleValueExtendedProperties/custom_8", "user field 8"),
    row("custom_9", contact, Type::text, named("custom_9"), "singleValueExtendedProperties/custom_9", "user field 9"),
    row("custom_10", contact, Type::text, named("custom_10"), "singleValueExtendedProperties/custom_10", "user field 10"),

    // Contacts.
    row("file_as", contact, Type::text, element("FileAs", "contacts:FileAs"), "fileAs", "name to sort by; made from the names when it is not mapped", outbound),
    row("display_name", contact, Type::text, element("DisplayName", "contacts:DisplayName"), "displayName", "full name; made by Exchange from the names when it is not mapped", outbound),
    row("given_name", contact, Type::text, element("GivenName", "contacts:GivenName"), "givenName", "first name", short_text),
    row("initials", contact, Type::text, element("Initials", "contacts:Initials"), "initials", "initials"),
    row("middle_name", contact, Type::text, element("MiddleName", "contacts:MiddleName"), "middleName", "middle name", short_text),
    row("nickname", contact, Type::text, element("Nickname", "contacts:Nickname"), "nickName", "nickname"),
    row("company", contact, Type::text, element("CompanyName", "contacts:CompanyName"), "companyName", "company"),
    row("email_1", contact, Type::email, email("EmailAddress1"), "emailAddresses/0/address", "first e-mail address"),
    row("email_2", contact, Type::email, email("EmailAddress2"), "emailAddresses/1/address", "second e-mail address"),
    row("email_3", contact, Type::email, email("EmailAddress3"), "emailAddresses/2/address", "third e-mail address"),
    row("business_street", contact, Type::text, address("Business", "Street", "contacts:PhysicalAddress:Street"), "businessAddress/street", "business address, street"),
    row("business_city", contact, Type::text, address("Business", "City", "contacts:PhysicalAddress:City"), "businessAddress/city", "business address, city"),
    row("business_state", contact, Type::text, address("Business", "State", "contacts:PhysicalAddress:State"), "businessAddress/state", "business address, state or region"),
    row("business_country", contact, Type::text, address("Business", "CountryOrRegion", "contacts:PhysicalAddress:CountryOrRegion"), "businessAddress/countryOrRegion", "business address, country"),
    row("business_postal_code", contact, Type::text, address("Business", "PostalCode", "contacts:PhysicalAddress:PostalCode"), "businessAddress/postalCode", "business address, postal code"),
    row("home_street", contact, Type::text, address("Home", "Street", "contacts:PhysicalAddress:Street"), "homeAddress/street", "home address, street"),
    row("home_city", contact, Type::text, address("Home", "City", "contacts:PhysicalAddress:City"), "homeAddress/city", "home address, city"),
    row("home_state", contact, Type::text, address("Home", "State", "contacts:PhysicalAddress:State"), "homeAddress/state", "home address, state or region"),
    row("home_country", contact, Type::text, address("Home", "CountryOrRegion", "contacts:PhysicalAddress:CountryOrRegion"), "homeAddress/countryOrRegion", "home address, country"),
    row("home_postal_code", contact, Type::text, address("Home", "PostalCode", "contacts:PhysicalAddress:PostalCode"), "homeAddress/postalCode", "home address, postal code"),
    row("other_street", contact, Type::text, address("Other", "Street", "contacts:PhysicalAddress:Street"), "otherAddress/street", "other address, street"),
    row("other_city", contact, Type::text, address("Other", "City", "contacts:PhysicalAddress:City"), "otherAddress/city", "other address, city"),
    row("other_state", contact, Type::text, address("Other", "State", "contacts:PhysicalAddress:State"), "otherAddress/state", "other address, state or region"),
    row("other_country", contact, Type::text, address("Other", "CountryOrRegion", "contacts:PhysicalAddress:CountryOrRegion"), "otherAddress/countryOrRegion", "other address, country"),
    row("other_postal_code", contact, Type::text, address("Other", "PostalCode", "contacts:PhysicalAddress:PostalCode"), "otherAddress/postalCode", "other address, postal code"),
    row("assistant_phone", contact, Type::text, phone("AssistantPhone"), "singleValueExtendedProperties/String 0x3A2E", "assistant's telephone"),
    row("business_fax", contact, Type::text, phone("BusinessFax"), "singleValueExtendedProperties/String 0x3A24", "business fax"),
    row("business_phone", contact, Type::text, phone("BusinessPhone"), "businessPhones/0", "business telephone"),
    row("business_phone_2", contact, Type::text, phone("BusinessPhone2"), "businessPhones/1", "second business telephone"),
    row("car_phone", contact, Type::text, phone("CarPhone"), "singleValueExtendedProperties/String 0x3A1E", "car telephone"),
    row("company_phone", contact, Type::text, phone("CompanyMainPhone"), "singleValueExtendedProperties/String 0x3A57", "company's main telephone"),
    row("home_fax", contact, Type::text, phone("HomeFax"), "singleValueExtendedProperties/String 0x3A25", "home fax"),
    row("home_phone", contact, Type::text, phone("HomePhone"), "homePhones/0", "home telephone"),
    row("home_phone_2", contact, Type::text, phone("HomePhone2"), "homePhones/1", "second home telephone"),
    row("mobile_phone", contact, Type::text, phone("MobilePhone"), "mobilePhone", "mobile telephone"),
    row("other_phone", contact, Type::text, phone("OtherTelephone"), "singleValueExtendedProperties/String 0x3A1F", "other telephone"),
    row("pager", contact, Type::text, phone("Pager"), "singleValueExtendedProperties/String 0x3A21", "pager"),
    row("primary_phone", contact, Type::text, phone("PrimaryPhone"), "singleValueExtendedProperties/String 0x3A1A", "primary telephone"),
    row("assistant", contact, Type::text, element("AssistantName", "contacts:AssistantName"), "assistantName", "assistant's name"),
    row("birthday", contact, Type::date, element("Birthday", "contacts:Birthday"), "birthday", "birthday"),
    row("department", contact, Type::text, element("Department", "contacts:Department"), "department", "department"),
    row("suffix", contact, Type::text, element("Generation", "contacts:Generation"), "generation", "suffix after the name, as Jr."),
    row("im_address", contact, Type::text, {.form = EwsForm::entry, .container = "ImAddresses", .field_uri = "contacts:ImAddress", .index = "ImAddress1"}, "imAddresses/0", "instant messaging address"),
    row("job_title", contact, Type::text, element("JobTitle", "contacts:JobTitle"), "jobTitle", "job title"),
    row("manager", contact, Type::text, element("Manager", "contacts:Manager"), "manager", "manager's name"),
    row("office", contact, Type::text, element("OfficeLocation", "contacts:OfficeLocation"), "officeLocation", "office"),
    row("profession", contact, Type::text, element("Profession", "contacts:Profession"), "profession", "profession"),
    row("spouse", contact, Type::text, element("SpouseName", "contacts:SpouseName"), "spouseName", "spouse's or partner's name"),
    row("surname", contact, Type::text, element("Surname", "contacts:Surname"), "surname", "last name", short_text),
    row("anniversary", contact, Type::date, element("WeddingAnniversary", "contacts:WeddingAnniversary"), "singleValueExtendedProperties/SystemTime 0x3A41", "wedding anniversary"),

    // Events.
    row("uid", event, Type::text, element("UID", "calendar:UID"), "iCalUId", "identifier of the event in iCalendar"),
    row("start", event, Type::timestamp, element("Start", "calendar:Start"), "start", "begin; for all-day events the first day"),
    row("end", event, Type::timestamp, element("End", "calendar:End"), "end", "end; for all-day events the day after the last"),
    row("all_day", event, Type::boolean, element("IsAllDayEvent", "calendar:IsAllDayEvent"), "isAllDay", "whether the event takes whole days"),
    row("show_as", event, Type::choice, choice("LegacyFreeBusyStatus", "calendar:LegacyFreeBusyStatus", "Free,Tentative,Busy,OOF,WorkingElsewhere"), "showAs", "what others see of that time", {.choices = "free,tentative,busy,out_of_office,elsewhere"}),
    row("location", event, Type::text, element("Location", "calendar:Location"), "location/displayName", "place"),
    row("is_meeting", event, Type::boolean, element("IsMeeting", "calendar:IsMeeting"), "", "whether others are invited", inbound),
    row("organizer", event, Type::email, structure("Organizer", "calendar:Organizer"), "organizer/emailAddress/address", "who invited", inbound),
    row("attendees", event, Type::text_list, structure("RequiredAttendees", "calendar:RequiredAttendees"), "attendees", "who is invited", inbound),
    row("recurrence", event, Type::text, structure("Recurrence", "calendar:Recurrence"), "recurrence", "how the event repeats, an RFC 5545 RRULE"),
    row("exceptions", event, Type::text, structure("ModifiedOccurrences", "calendar:ModifiedOccurrences"), "", "changed and deleted occurrences of a series"),
    row("time_zone", event, Type::text, structure("StartTimeZone", "calendar:StartTimeZone"), "start/timeZone", "time zone that the event repeats in"),

    // Tasks.
    row("completed_date", task, Type::date, element("CompleteDate", "task:CompleteDate"), "completedDateTime", "day of completion"),
    row("due_date", task, Type::date, element("DueDate", "task:DueDate"), "dueDateTime", "day by which it is due"),
    row("percent_complete", task, Type::integer, element("PercentComplete", "task:PercentComplete"), "", "percent done"),
    row("recurrence", task, Type::text, structure("Recurrence", "task:Recurrence"), "recurrence", "how the task repeats, an RFC 5545 RRULE"),
    row("start_date", task, Type::date, element("StartDate", "task:StartDate"), "startDateTime", "day on which to start"),
    row("status", task, Type::choice, choice("Status", "task:Status", "NotStarted,InProgress,Completed,WaitingOnOthers,Deferred"), "status", "how far it is", {.choices = "not_started,in_progress,completed,waiting,deferred", .absent = "not_started"}),
};
// clang-format on

constexpr auto numbered = [] {
    auto rows = table;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].position = static_cast<std::uint16_t>(i);
    }
    return rows;
}();

constexpr std::uint16_t last_named = [] {
    std::uint16_t position = 0;
    for (const auto& property : numbered) {
        if (property.ews.form == EwsForm::named) {
            position = property.position;
        }
    }
    return position;
}();

}  // namespace

std::span<const Property> property_rows() {
    return numbered;
}

std::uint16_t named_property_position() {
    return last_named;
}

}  // namespace crmsync::record
