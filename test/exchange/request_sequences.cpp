#include "request_sequences.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace stand_in {

namespace {

constexpr std::string_view kFolderIds = "FolderId|DistinguishedFolderId";
constexpr std::string_view kItemIds = "ItemId|OccurrenceItemId|RecurringMasterItemId";
constexpr std::string_view kPaths = "FieldURI|IndexedFieldURI|ExtendedFieldURI";
constexpr std::string_view kItems =
    "Item|Message|SharingMessage|CalendarItem|Contact|DistributionList|MeetingMessage|"
    "MeetingRequest|MeetingResponse|MeetingCancellation|Task|PostItem|ReplyToItem|ForwardItem|"
    "ReplyAllToItem|AcceptItem|TentativelyAcceptItem|DeclineItem|CancelCalendarItem|RemoveItem|"
    "SuppressReadReceipt|PostReplyItem|AcceptSharingInvitation|RoleMember|Network|Person";
constexpr std::string_view kSearch =
    "Contains|Excludes|Exists|IsEqualTo|IsNotEqualTo|IsGreaterThan|IsGreaterThanOrEqualTo|"
    "IsLessThan|IsLessThanOrEqualTo|And|Not|Or";
constexpr std::string_view kFolders =
    "Folder|CalendarFolder|ContactsFolder|SearchFolder|TasksFolder";
constexpr std::string_view kFolderPaths = kPaths;

const std::vector<Sequence>& sequences() {
    static const std::vector<Sequence> all{
        {"ExchangeImpersonation", {{"ConnectingSID"}}},
        {"ConnectingSID", {{"PrincipalName|SID|PrimarySmtpAddress|SmtpAddress"}}},
        {"CreateItem", {{"SavedItemFolderId"}, {"Items"}}},
        {"SavedItemFolderId", {{"FolderId|DistinguishedFolderId|AddressListId"}}},
        {"Items", {{kItems, true}}},
        {"UpdateItem", {{"SavedItemFolderId"}, {"ItemChanges"}}},
        {"ItemChanges", {{"ItemChange", true}}},
        {"ItemChange", {{kItemIds}, {"Updates"}, {"CalendarActivityData"}}},
        {"AppendToItemField", {{kPaths}, {kItems}}},
        {"DeleteItem", {{"ItemIds"}}},
        {"ItemIds", {{kItemIds, true}}},
        {"GetItem", {{"ItemShape"}, {"ItemIds"}}},
        {"ItemShape",
         {{"BaseShape"},
          {"IncludeMimeContent"},
          {"BodyType"},
          {"UniqueBodyType"},
          {"NormalizedBodyType"},
          {"FilterHtmlContent"},
          {"ConvertHtmlCodePageToUTF8"},
          {"InlineImageUrlTemplate"},
          {"BlockExternalImages"},
          {"AddBlankTargetToLinks"},
          {"MaximumBodySize"},
          {"AdditionalProperties"}}},
        {"AdditionalProperties", {{kPaths, true}}},
        {"CreateAttachment", {{"ParentItemId"}, {"Attachments"}}},
        {"Attachments", {{"ItemAttachment|FileAttachment|ReferenceAttachment", true}}},
        {"FileAttachment",
         {{"AttachmentId"},
          {"Name"},
          {"ContentType"},
          {"ContentId"},
          {"ContentLocation"},
          {"AttachmentOriginalUrl"},
          {"Size"},
          {"LastModifiedTime"},
          {"IsInline"},
          {"IsContactPhoto"},
          {"Content"}}},
        {"GetAttachment", {{"AttachmentShape"}, {"AttachmentIds"}}},
        {"DeleteAttachment", {{"AttachmentIds"}}},
        {"AttachmentIds", {{"AttachmentId", true}}},
        {"FindItem",
         {{"ItemShape"},
          {"IndexedPageItemView|FractionalPageItemView|SeekToConditionPageItemView|CalendarView|"
           "ContactsView"},
          {"GroupBy|DistinguishedGroupBy"},
          {"Restriction"},
          {"SortOrder"},
          {"ParentFolderIds"},
          {"QueryString"}}},
        {"Restriction", {{kSearch}}},
        {"And", {{kSearch, true}}},
        {"Or", {{kSearch, true}}},
        {"Not", {{kSearch}}},
        {"IsEqualTo", {{kPaths}, {"FieldURIOrConstant"}}},
        {"IsNotEqualTo", {{kPaths}, {"FieldURIOrConstant"}}},
        {"IsGreaterThan", {{kPaths}, {"FieldURIOrConstant"}}},
        {"IsGreaterThanOrEqualTo", {{kPaths}, {"FieldURIOrConstant"}}},
        {"IsLessThan", {{kPaths}, {"FieldURIOrConstant"}}},
        {"IsLessThanOrEqualTo", {{kPaths}, {"FieldURIOrConstant"}}},
        {"FieldURIOrConstant", {{"FieldURI|IndexedFieldURI|ExtendedFieldURI|Constant"}}},
        {"Contains", {{kPaths}, {"Constant"}}},
        {"Exists", {{kPaths}}},
        {"SortOrder", {{"FieldOrder", true}}},
        {"FieldOrder", {{kPaths}}},
        {"ParentFolderIds", {{kFolderIds, true}}},
        {"MoveItem", {{"ToFolderId"}, {"ItemIds"}, {"ReturnNewItemIds"}}},
        {"CopyItem", {{"ToFolderId"}, {"ItemIds"}, {"ReturnNewItemIds"}}},
        {"ToFolderId", {{kFolderIds}}},
        {"SyncFolderItems",
         {{"ItemShape"},
          {"SyncFolderId"},
          {"SyncState"},
          {"Ignore"},
          {"MaxChangesReturned"},
          {"SyncScope"}}},
        {"SyncFolderId", {{kFolderIds}}},
        {"SyncFolderHierarchy", {{"FolderShape"}, {"SyncFolderId"}, {"SyncState"}}},
        {"GetFolder", {{"FolderShape"}, {"FolderIds"}}},
        {"FolderShape", {{"BaseShape"}, {"AdditionalProperties"}}},
        {"FolderIds", {{kFolderIds, true}}},
        {"FindFolder",
         {{"FolderShape"},
          {"IndexedPageFolderView|FractionalPageFolderView"},
          {"Restriction"},
          {"ParentFolderIds"}}},
        {"CreateFolder", {{"ParentFolderId"}, {"Folders"}}},
        {"ParentFolderId", {{kFolderIds}}},
        {"Folders", {{kFolders, true}}},
        {"DeleteFolder", {{"FolderIds"}}},
        {"UpdateFolder", {{"FolderChanges"}}},
        {"FolderChanges", {{"FolderChange", true}}},
        {"FolderChange", {{kFolderIds}, {"Updates"}}},
        {"SetFolderField", {{kFolderPaths}, {kFolders}}},
        {"DeleteFolderField", {{kFolderPaths}}},
        {"EmptyFolder", {{"FolderIds"}}},
        {"ResolveNames", {{"ParentFolderIds"}, {"UnresolvedEntry"}}},
        {"GetServerTimeZones", {{"Ids"}}},
        {"ExtendedProperty", {{"ExtendedFieldURI"}, {"Value|Values"}}},
        {"PhysicalAddressEntry",
         {{"Street"}, {"City"}, {"State"}, {"CountryOrRegion"}, {"PostalCode"}}},
    };
    return all;
}

constexpr std::string_view kDeleteTypes = "HardDelete|SoftDelete|MoveToDeletedItems";
constexpr std::string_view kDispositions = "SaveOnly|SendOnly|SendAndSaveCopy";

// Those of one element stand together.
constexpr AttributeRule kAttributes[] = {
    {"CreateItem", "MessageDisposition", false, kDispositions},
    {"CreateItem", "SendMeetingInvitations", false,
     "SendToNone|SendOnlyToAll|SendToAllAndSaveCopy"},
    {"UpdateItem", "ConflictResolution", true, "NeverOverwrite|AutoResolve|AlwaysOverwrite"},
    {"UpdateItem", "MessageDisposition", false, kDispositions},
    {"UpdateItem", "SendMeetingInvitationsOrCancellations", false,
     "SendToNone|SendOnlyToAll|SendOnlyToChanged|SendToAllAndSaveCopy|SendToChangedAndSaveCopy"},
    {"DeleteItem", "DeleteType", true, kDeleteTypes},
    {"DeleteItem", "SendMeetingCancellations", false,
     "SendToNone|SendOnlyToAll|SendToAllAndSaveCopy"},
    {"DeleteItem", "AffectedTaskOccurrences", false, "AllOccurrences|SpecifiedOccurrenceOnly"},
    {"FindItem", "Traversal", true, "Shallow|SoftDeleted|Associated"},
    {"FindFolder", "Traversal", true, "Shallow|Deep|SoftDeleted"},
    {"DeleteFolder", "DeleteType", true, kDeleteTypes},
    {"EmptyFolder", "DeleteType", true, kDeleteTypes},
    {"EmptyFolder", "DeleteSubFolders", true},
    {"ItemId", "Id", true},
    {"ParentItemId", "Id", true},
    {"AttachmentId", "Id", true},
    {"FolderId", "Id", true},
    {"DistinguishedFolderId", "Id", true},
    {"FieldURI", "FieldURI", true},
    {"IndexedFieldURI", "FieldURI", true},
    {"IndexedFieldURI", "FieldIndex", true},
    {"ExtendedFieldURI", "PropertyType", true,
     "ApplicationTime|ApplicationTimeArray|Binary|BinaryArray|Boolean|CLSID|CLSIDArray|Currency|"
     "CurrencyArray|Double|DoubleArray|Error|Float|FloatArray|Integer|IntegerArray|Long|LongArray|"
     "Null|Object|ObjectArray|Short|ShortArray|SystemTime|SystemTimeArray|String|StringArray"},
    {"ExtendedFieldURI", "DistinguishedPropertySetId", false,
     "Meeting|Appointment|Common|PublicStrings|Address|InternetHeaders|CalendarAssistant|"
     "UnifiedMessaging|Task|Sharing"},
    {"IndexedPageItemView", "Offset", true},
    {"IndexedPageItemView", "BasePoint", true, "Beginning|End"},
    {"IndexedPageFolderView", "Offset", true},
    {"IndexedPageFolderView", "BasePoint", true, "Beginning|End"},
    {"CalendarView", "StartDate", true},
    {"CalendarView", "EndDate", true},
    {"FieldOrder", "Order", true, "Ascending|Descending"},
    {"Constant", "Value", true},
    {"Contains", "ContainmentMode", false,
     "FullString|Prefixed|Substring|PrefixOnWords|ExactPhrase"},
    {"Contains", "ContainmentComparison", false,
     "Exact|IgnoreCase|IgnoreNonSpacingCharacters|Loose|IgnoreCaseAndNonSpacingCharacters|"
     "LooseAndIgnoreCase|LooseAndIgnoreNonSpace|LooseAndIgnoreCaseAndIgnoreNonSpace"},
    {"ResolveNames", "ReturnFullContactData", true},
    {"RequestServerVersion", "Version", true},
};

}  // namespace

const Sequence* sequence_of(std::string_view element) {
    static const auto by_name = [] {
        std::unordered_map<std::string_view, const Sequence*> made;
        for (const Sequence& s : sequences())
            made.emplace(s.element, &s);
        return made;
    }();
    auto found = by_name.find(element);
    return found == by_name.end() ? nullptr : found->second;
}

std::span<const AttributeRule> attribute_rules_of(std::string_view element) {
    static const auto by_name = [] {
        std::unordered_map<std::string_view, std::span<const AttributeRule>> made;
        for (const AttributeRule *first = kAttributes, *end = std::end(kAttributes);
             first != end;) {
            const auto* next = std::find_if(
                first, end, [&](const AttributeRule& r) { return r.element != first->element; });
            made.emplace(first->element, std::span(first, next));
            first = next;
        }
        return made;
    }();
    auto found = by_name.find(element);
    return found == by_name.end() ? std::span<const AttributeRule>() : found->second;
}

std::string_view values_of(std::string_view element) {
    if (element == "BaseShape")
        return "IdOnly|Default|AllProperties|PcxPeopleSearch";
    if (element == "SyncScope")
        return "NormalItems|NormalAndAssociatedItems";
    return {};
}

}  // namespace stand_in
