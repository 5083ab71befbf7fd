#include "property_rows.hpp"

#include <string>

namespace stand_in {

namespace {

Row text(std::string_view element, std::string_view mapi = {}, std::size_t limit = 0) {
    return {.element = element, .kind = Kind::text, .rights = kAll, .mapi = mapi, .limit = limit};
}

Row of(Kind kind, std::string_view element, unsigned rights = kAll, std::string_view mapi = {}) {
    return {.element = element, .kind = kind, .rights = rights, .mapi = mapi};
}

Row choice(std::string_view element, std::string_view choices, const char* initial,
           unsigned rights = kAll) {
    return {.element = element,
            .kind = Kind::choice,
            .rights = rights,
            .choices = choices,
            .initial = initial};
}

/// A value that the server answers always and nobody writes here.
Row fixed(Kind kind, std::string_view element, const char* value) {
    return {.element = element, .kind = kind, .initial = value};
}

Row computed(std::string_view element) {
    return {.element = element, .kind = Kind::computed};
}

Row unused(std::string_view element) {
    return {.element = element};
}

void append_unused(std::vector<Row>& rows, std::initializer_list<std::string_view> elements) {
    for (std::string_view element : elements)
        rows.push_back(unused(element));
}

constexpr std::string_view kCategories = "00020329-0000-0000-c000-000000000046/Keywords";

}  // namespace

std::vector<Row> item_rows() {
    std::vector<Row> rows{
        unused("MimeContent"),
        computed("ItemId"),
        computed("ParentFolderId"),
        {.element = "ItemClass", .kind = Kind::text, .rights = kCreate | kSet, .mapi = "tag:0x1a"},
        text("Subject", "tag:0x37", 255),
        choice("Sensitivity", "Normal|Personal|Private|Confidential", "Normal"),
        of(Kind::body, "Body", kAll, "tag:0x1000"),
        computed("Attachments"),
        computed("DateTimeReceived"),
        computed("Size"),
        of(Kind::strings, "Categories", kAll, kCategories),
        choice("Importance", "Low|Normal|High", "Normal"),
        text("InReplyTo"),
        fixed(Kind::boolean, "IsSubmitted", "false"),
        computed("IsDraft"),
        fixed(Kind::boolean, "IsFromMe", "false"),
        fixed(Kind::boolean, "IsResend", "false"),
        fixed(Kind::boolean, "IsUnmodified", "false"),
        unused("InternetMessageHeaders"),
        computed("DateTimeSent"),
        computed("DateTimeCreated"),
        unused("ResponseObjects"),
        of(Kind::date_time, "ReminderDueBy"),
        of(Kind::boolean, "ReminderIsSet"),
        of(Kind::date_time, "ReminderNextTime", kRead),
        of(Kind::integer, "ReminderMinutesBeforeStart"),
        fixed(Kind::text, "DisplayCc", ""),
        fixed(Kind::text, "DisplayTo", ""),
        unused("DisplayBcc"),
        computed("HasAttachments"),
        {.element = "ExtendedProperty", .kind = Kind::extended, .rights = kAll},
        {.element = "Culture", .kind = Kind::text, .rights = kCreate | kSet, .initial = "en-US"},
        computed("EffectiveRights"),
        computed("LastModifiedName"),
        computed("LastModifiedTime"),
        fixed(Kind::boolean, "IsAssociated", "false"),
        computed("WebClientReadFormQueryString"),
        unused("WebClientEditFormQueryString"),
        computed("ConversationId"),
    };
    append_unused(rows, {"UniqueBody",
                         "Flag",
                         "StoreEntryId",
                         "InstanceKey",
                         "NormalizedBody",
                         "EntityExtractionResult",
                         "PolicyTag",
                         "ArchiveTag",
                         "RetentionDate",
                         "Preview",
                         "RightsManagementLicenseData",
                         "PredictedActionReasons",
                         "IsClutter",
                         "BlockStatus",
                         "HasBlockedImages",
                         "TextBody",
                         "IconIndex",
                         "SearchKey",
                         "SortKey",
                         "Hashtags",
                         "Mentions",
                         "MentionedMe",
                         "MentionsPreview",
                         "MentionsEx",
                         "AppliedHashtags",
                         "AppliedHashtagsPreview",
                         "Likes",
                         "LikesPreview",
                         "PendingSocialActivityTagIds",
                         "AtAllMention",
                         "CanDelete",
                         "InferenceClassification"});
    return rows;
}

std::vector<Row> contact_rows() {
    constexpr std::string_view mappings =
        "None|LastCommaFirst|FirstSpaceLast|Company|LastCommaFirstCompany|CompanyLastFirst|"
        "LastFirst|LastFirstCompany|CompanyLastCommaFirst|LastFirstSuffix|LastSpaceFirstCompany|"
        "CompanyLastSpaceFirst|LastSpaceFirst|DisplayName|FirstName|LastFirstMiddleSuffix|"
        "LastName|Empty";
    Row file_as = text("FileAs", "00062004-0000-0000-c000-000000000046/0x8005");
    file_as.initial = "";
    std::vector<Row> rows{
        file_as,
        choice("FileAsMapping", mappings, "None"),
        text("DisplayName", "tag:0x3001"),
        text("GivenName", "tag:0x3a06", 255),
        text("Initials", "tag:0x3a0a"),
        text("MiddleName", "tag:0x3a44", 255),
        text("Nickname", "tag:0x3a4f"),
        computed("CompleteName"),
        text("CompanyName", "tag:0x3a16"),
        of(Kind::emails, "EmailAddresses", kCreate | kSet),
        unused("AbchEmailAddresses"),
        of(Kind::addresses, "PhysicalAddresses"),
        of(Kind::phones, "PhoneNumbers"),
        text("AssistantName", "tag:0x3a30"),
        of(Kind::date_time, "Birthday", kAll, "tag:0x3a42"),
        text("BusinessHomePage", "tag:0x3a51"),
        of(Kind::strings, "Children", kAll, "tag:0x3a58"),
        of(Kind::strings, "Companies"),
        unused("ContactSource"),
        text("Department", "tag:0x3a18"),
        text("Generation", "tag:0x3a05"),
        of(Kind::ims, "ImAddresses"),
        text("JobTitle", "tag:0x3a17"),
        text("Manager", "tag:0x3a4e"),
        text("Mileage", "00062008-0000-0000-c000-000000000046/0x8534"),
        text("OfficeLocation", "tag:0x3a19"),
        choice("PostalAddressIndex", "None|Business|Home|Other", nullptr),
        text("Profession", "tag:0x3a46"),
        text("SpouseName", "tag:0x3a48"),
        text("Surname", "tag:0x3a11", 255),
        of(Kind::date_time, "WeddingAnniversary", kAll, "tag:0x3a41"),
        computed("HasPicture"),
    };
    append_unused(rows, {"PhoneticFullName",
                         "PhoneticFirstName",
                         "PhoneticLastName",
                         "Alias",
                         "Notes",
                         "Photo",
                         "UserSMIMECertificate",
                         "MSExchangeCertificate",
                         "DirectoryId",
                         "ManagerMailbox",
                         "DirectReports",
                         "AccountName",
                         "IsAutoUpdateDisabled",
                         "IsMessengerEnabled",
                         "Comment",
                         "ContactShortId",
                         "ContactType",
                         "Gender",
                         "IsHidden",
                         "ObjectId",
                         "PassportId",
                         "IsPrivate",
                         "SourceId",
                         "TrustLevel",
                         "CreatedBy",
                         "Urls",
                         "Cid",
                         "SkypeAuthCertificate",
                         "SkypeContext",
                         "SkypeId",
                         "SkypeRelationship",
                         "YomiNickname",
                         "XboxLiveTag",
                         "InviteFree",
                         "HidePresenceAndProfile",
                         "IsPendingOutbound",
                         "SupportGroupFeeds",
                         "UserTileHash",
                         "UnifiedInbox",
                         "Mris",
                         "Wlid",
                         "AbchContactId",
                         "NotInBirthdayCalendar",
                         "ShellContactType",
                         "ImMri",
                         "PresenceTrustLevel",
                         "OtherMri",
                         "ProfileLastChanged",
                         "MobileIMEnabled",
                         "PartnerNetworkProfilePhotoUrl",
                         "PartnerNetworkThumbnailPhotoUrl",
                         "PersonId",
                         "ConversationGuid"});
    return rows;
}

std::vector<Row> calendar_rows() {
    Row start = of(Kind::date_time, "Start", kCreate | kSet);
    Row end = of(Kind::date_time, "End", kCreate | kSet);
    Row all_day = of(Kind::boolean, "IsAllDayEvent");
    all_day.initial = "false";
    Row responses = of(Kind::boolean, "IsResponseRequested");
    responses.initial = "true";
    std::vector<Row> rows{
        of(Kind::text, "UID", kCreate | kSet),
        unused("RecurrenceId"),
        computed("DateTimeStamp"),
        start,
        end,
        unused("OriginalStart"),
        all_day,
        choice("LegacyFreeBusyStatus", "Free|Tentative|Busy|OOF|WorkingElsewhere|NoData", "Busy"),
        text("Location", "00062002-0000-0000-c000-000000000046/0x8208"),
        text("When"),
        computed("IsMeeting"),
        fixed(Kind::boolean, "IsCancelled", "false"),
        fixed(Kind::boolean, "IsRecurring", "false"),
        fixed(Kind::boolean, "MeetingRequestWasSent", "false"),
        responses,
        computed("CalendarItemType"),
        fixed(Kind::choice, "MyResponseType", "Organizer"),
        computed("Organizer"),
        of(Kind::xml, "RequiredAttendees"),
        of(Kind::xml, "OptionalAttendees"),
        of(Kind::xml, "Resources"),
        unused("InboxReminders"),
        unused("ConflictingMeetingCount"),
        unused("AdjacentMeetingCount"),
        unused("ConflictingMeetings"),
        unused("AdjacentMeetings"),
        unused("Duration"),
        fixed(Kind::text, "TimeZone", "UTC"),
        unused("AppointmentReplyTime"),
        fixed(Kind::integer, "AppointmentSequenceNumber", "0"),
        fixed(Kind::integer, "AppointmentState", "0"),
        of(Kind::xml, "Recurrence"),
    };
    append_unused(rows, {"FirstOccurrence", "LastOccurrence", "ModifiedOccurrences",
                         "DeletedOccurrences", "MeetingTimeZone"});
    rows.push_back(of(Kind::xml, "StartTimeZone"));
    rows.push_back(of(Kind::xml, "EndTimeZone"));
    rows.push_back(of(Kind::integer, "ConferenceType"));
    rows.push_back(of(Kind::boolean, "AllowNewTimeProposal"));
    rows.push_back(fixed(Kind::boolean, "IsOnlineMeeting", "false"));
    rows.push_back(text("MeetingWorkspaceUrl"));
    rows.push_back(text("NetShowUrl"));
    append_unused(rows, {"EnhancedLocation", "StartWallClock", "EndWallClock", "StartTimeZoneId",
                         "EndTimeZoneId", "IntendedFreeBusyStatus", "JoinOnlineMeetingUrl",
                         "OnlineMeetingSettings", "IsOrganizer", "CalendarActivityData",
                         "DoNotForwardMeeting"});
    return rows;
}

std::vector<Row> task_rows() {
    Row percent = of(Kind::number, "PercentComplete");
    percent.initial = "0";
    return {
        of(Kind::integer, "ActualWork"),
        unused("AssignedTime"),
        text("BillingInformation"),
        fixed(Kind::integer, "ChangeCount", "1"),
        of(Kind::strings, "Companies"),
        of(Kind::date_time, "CompleteDate"),
        of(Kind::strings, "Contacts"),
        fixed(Kind::choice, "DelegationState", "NoMatch"),
        unused("Delegator"),
        of(Kind::date_time, "DueDate"),
        unused("IsAssignmentEditable"),
        computed("IsComplete"),
        computed("IsRecurring"),
        fixed(Kind::boolean, "IsTeamTask", "false"),
        text("Mileage"),
        computed("Owner"),
        percent,
        of(Kind::xml, "Recurrence"),
        of(Kind::date_time, "StartDate"),
        choice("Status", "NotStarted|InProgress|Completed|WaitingOnOthers|Deferred", "NotStarted"),
        computed("StatusDescription"),
        of(Kind::integer, "TotalWork"),
    };
}

}  // namespace stand_in
