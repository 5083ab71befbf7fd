// Codes as in ResponseCodeType of messages.xsd and in Microsoft's list of response codes, grouped
// by what has to follow from them.
#include "exchange/ews/response_codes.h"

#include <algorithm>
#include <array>

namespace crmsync::exchange::ews {
namespace {

struct Row {
    std::string_view code;
    CodeMeaning meaning;
};

constexpr Row certain(std::string_view code, Disposition disposition) {
    return {code, {disposition, false, false}};
}

constexpr Row uncertain(std::string_view code, Disposition disposition) {
    return {code, {disposition, true, false}};
}

constexpr Row damaged(std::string_view code) {
    return {code, {Disposition::item_failed, false, true}};
}

constexpr auto sorted(auto rows) {
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.code < b.code; });
    return rows;
}

using enum Disposition;

constexpr auto table = sorted(std::array{
    // The server asks for a pause.
    certain("ErrorServerBusy", retry_later),

    // Passing trouble of the server.
    certain("ErrorADOperation", back_off),
    certain("ErrorADUnavailable", back_off),
    certain("ErrorBatchProcessingStopped", back_off),
    uncertain("ErrorClientDisconnected", back_off),
    uncertain("ErrorConnectionFailed", back_off),
    certain("ErrorCrossSiteRequest", back_off),
    uncertain("ErrorDataSourceOperation", back_off),
    certain("ErrorExceededConnectionCount", back_off),
    certain("ErrorExceededFindCountLimit", back_off),
    certain("ErrorInsufficientResources", back_off),
    uncertain("ErrorInternalServerTransientError", back_off),
    certain("ErrorLocalServerObjectNotFound", back_off),
    uncertain("ErrorMailboxFailover", back_off),
    certain("ErrorMailboxMoveInProgress", back_off),
    uncertain("ErrorMailboxStoreUnavailable", back_off),
    certain("ErrorNoApplicableProxyCASServersAvailable", back_off),
    certain("ErrorNoRespondingCASInDestinationSite", back_off),
    certain("ErrorNotEnoughMemory", back_off),
    uncertain("ErrorProxyCallFailed", back_off),
    uncertain("ErrorProxyRequestProcessingFailed", back_off),
    certain("ErrorProxyServiceDiscoveryFailed", back_off),
    certain("ErrorProxyTokenExpired", back_off),
    uncertain("ErrorRequestAborted", back_off),
    certain("ErrorServiceUnavailable", back_off),
    certain("ErrorTooManyObjectsOpened", back_off),
    uncertain("ErrorTransientError", back_off),

    // Too much at once.
    certain("ErrorMailboxDataArrayTooBig", shrink_batch),
    certain("ErrorRequestStreamTooBig", shrink_batch),
    certain("ErrorRestrictionTooComplex", shrink_batch),
    certain("ErrorRestrictionTooLong", shrink_batch),
    certain("ErrorResultSetTooBig", shrink_batch),
    uncertain("ErrorTimeoutExpired", shrink_batch),

    // This item only.
    certain("ErrorAffectedTaskOccurrencesRequired", item_failed),
    certain("ErrorAttachmentSizeLimitExceeded", item_failed),
    certain("ErrorCalendarCannotUpdateDeletedItem", item_failed),
    certain("ErrorCalendarDurationIsTooLong", item_failed),
    certain("ErrorCalendarEndDateIsEarlierThanStartDate", item_failed),
    certain("ErrorCalendarInvalidAttributeValue", item_failed),
    certain("ErrorCalendarInvalidDayForTimeChangePattern", item_failed),
    certain("ErrorCalendarInvalidDayForWeeklyRecurrence", item_failed),
    certain("ErrorCalendarInvalidPropertyState", item_failed),
    certain("ErrorCalendarInvalidPropertyValue", item_failed),
    certain("ErrorCalendarInvalidRecurrence", item_failed),
    certain("ErrorCalendarInvalidTimeZone", item_failed),
    certain("ErrorCalendarIsNotOrganizer", item_failed),
    certain("ErrorCalendarOccurrenceIndexIsOutOfRecurrenceRange", item_failed),
    certain("ErrorCalendarOccurrenceIsDeletedFromRecurrence", item_failed),
    certain("ErrorCalendarOutOfRange", item_failed),
    certain("ErrorCannotDeleteObject", item_failed),
    damaged("ErrorCannotOpenFileAttachment"),
    damaged("ErrorContentConversionFailed"),
    damaged("ErrorCorruptData"),
    certain("ErrorDataSizeLimitExceeded", item_failed),
    certain("ErrorIncorrectUpdatePropertyCount", item_failed),
    certain("ErrorInvalidContactEmailAddress", item_failed),
    certain("ErrorInvalidContactEmailIndex", item_failed),
    certain("ErrorInvalidExtendedProperty", item_failed),
    certain("ErrorInvalidExtendedPropertyValue", item_failed),
    certain("ErrorInvalidId", item_failed),
    certain("ErrorInvalidIdEmpty", item_failed),
    certain("ErrorInvalidIdMalformed", item_failed),
    certain("ErrorInvalidIdMonikerTooLong", item_failed),
    certain("ErrorInvalidIdStoreObjectIdTooLong", item_failed),
    certain("ErrorInvalidIdXml", item_failed),
    certain("ErrorInvalidItemForOperationCreateItem", item_failed),
    certain("ErrorInvalidPhoneNumber", item_failed),
    certain("ErrorInvalidPropertyDelete", item_failed),
    certain("ErrorInvalidPropertyForOperation", item_failed),
    certain("ErrorInvalidPropertyRequest", item_failed),
    certain("ErrorInvalidPropertySet", item_failed),
    certain("ErrorInvalidSIPUri", item_failed),
    certain("ErrorInvalidSmtpAddress", item_failed),
    certain("ErrorInvalidValueForProperty", item_failed),
    damaged("ErrorItemCorrupt"),
    certain("ErrorItemPropertyRequestFailed", item_failed),
    certain("ErrorItemSave", item_failed),
    certain("ErrorItemSavePropertyError", item_failed),
    certain("ErrorMessageSizeExceeded", item_failed),
    certain("ErrorMissingArgument", item_failed),
    certain("ErrorObjectTypeChanged", item_failed),
    certain("ErrorOccurrenceCrossingBoundary", item_failed),
    certain("ErrorOccurrenceTimeSpanTooBig", item_failed),
    certain("ErrorPropertyUpdate", item_failed),
    certain("ErrorPropertyValidationFailure", item_failed),
    certain("ErrorRecurrenceEndDateTooBig", item_failed),
    certain("ErrorRecurrenceHasNoOccurrence", item_failed),
    certain("ErrorRequiredPropertyMissing", item_failed),
    certain("ErrorSentMeetingRequestUpdate", item_failed),
    certain("ErrorSentTaskRequestUpdate", item_failed),
    certain("ErrorUnsupportedMapiPropertyType", item_failed),
    certain("ErrorUnsupportedPropertyDefinition", item_failed),
    certain("ErrorUnsupportedRecurrence", item_failed),
    certain("ErrorUpdatePropertyMismatch", item_failed),
    certain("ErrorValueOutOfRange", item_failed),
    damaged("ErrorVirusDetected"),
    certain("ErrorVirusMessageDeleted", item_failed),

    // The item, or the file that was attached to it, is no longer there.
    certain("ErrorInvalidAttachmentId", item_gone),
    certain("ErrorItemNotFound", item_gone),

    // Our copy of the change key is old.
    certain("ErrorChangeKeyRequired", reread),
    certain("ErrorChangeKeyRequiredForWriteOperations", reread),
    certain("ErrorInvalidChangeKey", reread),
    certain("ErrorIrresolvableConflict", reread),
    certain("ErrorStaleObject", reread),

    // The request as a whole is not understood: some item in it is the cause.
    uncertain("ErrorInternalServerError", bisect),
    certain("ErrorInvalidArgument", bisect),
    certain("ErrorInvalidRequest", bisect),
    certain("ErrorSchemaValidation", bisect),

    // Nothing works in this mailbox.
    certain("ErrorAccessDenied", mailbox_disabled),
    certain("ErrorAccountDisabled", mailbox_disabled),
    certain("ErrorCannotCreateCalendarItemInNonCalendarFolder", mailbox_disabled),
    certain("ErrorCannotCreateContactInNonContactFolder", mailbox_disabled),
    certain("ErrorCannotCreateTaskInNonTaskFolder", mailbox_disabled),
    certain("ErrorCreateItemAccessDenied", mailbox_disabled),
    certain("ErrorCreateSubfolderAccessDenied", mailbox_disabled),
    certain("ErrorImpersonateUserDenied", mailbox_disabled),
    certain("ErrorImpersonationDenied", mailbox_disabled),
    certain("ErrorImpersonationFailed", mailbox_disabled),
    certain("ErrorIncorrectSchemaVersion", mailbox_disabled),
    certain("ErrorInvalidExchangeImpersonationHeaderData", mailbox_disabled),
    certain("ErrorInvalidLicense", mailbox_disabled),
    certain("ErrorInvalidMailbox", mailbox_disabled),
    certain("ErrorInvalidSchemaVersionForMailboxVersion", mailbox_disabled),
    certain("ErrorInvalidServerVersion", mailbox_disabled),
    certain("ErrorInvalidUserPrincipalName", mailbox_disabled),
    certain("ErrorInvalidUserSid", mailbox_disabled),
    certain("ErrorMailboxConfiguration", mailbox_disabled),
    certain("ErrorMailboxLogonFailed", mailbox_disabled),
    certain("ErrorMissingEmailAddress", mailbox_disabled),
    certain("ErrorMissingExchangePrincipal", mailbox_disabled),
    certain("ErrorNonExistentMailbox", mailbox_disabled),
    certain("ErrorNonPrimarySmtpAddress", mailbox_disabled),
    certain("ErrorOrganizationAccessBlocked", mailbox_disabled),
    certain("ErrorPasswordChangeRequired", mailbox_disabled),
    certain("ErrorPasswordExpired", mailbox_disabled),
    certain("ErrorWrongServerVersion", mailbox_disabled),
    certain("ErrorWrongServerVersionDelegate", mailbox_disabled),

    // There is no room in it.
    certain("ErrorQuotaExceeded", mailbox_full),

    // The folder has to be found or created again.
    certain("ErrorFolderExists", folder_gone),
    certain("ErrorFolderNotFound", folder_gone),
    certain("ErrorInvalidFolderId", folder_gone),
    certain("ErrorParentFolderNotFound", folder_gone),
    certain("ErrorSavedItemFolderNotFound", folder_gone),
    certain("ErrorSyncFolderNotFound", folder_gone),
    certain("ErrorToFolderNotFound", folder_gone),

    // The stored sync state is worth nothing any more.
    certain("ErrorInvalidSyncStateData", resync),
});

constexpr bool unique = [] {
    for (std::size_t i = 1; i < table.size(); ++i) {
        if (table[i - 1].code == table[i].code) {
            return false;
        }
    }
    return true;
}();
static_assert(unique, "every code has one meaning");

}  // namespace

std::optional<CodeMeaning> meaning_of(std::string_view code) {
    const auto row = std::lower_bound(
        table.begin(), table.end(), code,
        [](const Row& candidate, std::string_view wanted) { return candidate.code < wanted; });
    if (row == table.end() || row->code != code) {
        return std::nullopt;
    }
    return row->meaning;
}

}  // namespace crmsync::exchange::ews
