// From every kind of error to what has to follow from it.
#include <gtest/gtest.h>

#include "ews_support.h"
#include "exchange/ews/response_codes.h"
#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

using namespace std::chrono_literals;
using namespace test;
using record::Object;
using enum Disposition;

Failure failure(const net::Response& response, const Operation& operation = create(1)) {
    const Answer answer = read(operation, response);
    EXPECT_TRUE(answer.failure);
    EXPECT_TRUE(answer.items.empty());
    return answer.failure.value_or(Failure{.disposition = item_gone, .code = "", .message = ""});
}

Failure item_failure(const std::string& code, const std::string& text = "words",
                     const std::string& message_xml = {}) {
    const Answer answer =
        read(create(1), soap(messages("CreateItem", {error(code, text, message_xml)})));
    EXPECT_FALSE(answer.failure);
    return answer.items.at(0).failure.value();
}

TEST(Codes, SayWhetherTryingAgainMayHelp) {
    EXPECT_TRUE(item_failure("ErrorCannotOpenFileAttachment").damaged);
    EXPECT_TRUE(item_failure("ErrorCorruptData").damaged);
    EXPECT_FALSE(item_failure("ErrorInternalServerError").damaged);
    EXPECT_FALSE(item_failure("ErrorNeverHeardOf").damaged);
}

TEST(Codes, LeadToWhatTheirClassSays) {
    const std::vector<std::pair<Disposition, std::vector<const char*>>> classes{
        {retry_later, {"ErrorServerBusy"}},
        {back_off,
         {"ErrorInternalServerTransientError", "ErrorTooManyObjectsOpened",
          "ErrorExceededConnectionCount", "ErrorMailboxStoreUnavailable", "ErrorMailboxFailover",
          "ErrorMailboxMoveInProgress", "ErrorConnectionFailed", "ErrorADUnavailable",
          "ErrorADOperation", "ErrorNoRespondingCASInDestinationSite",
          "ErrorExceededFindCountLimit", "ErrorBatchProcessingStopped"}},
        {shrink_batch, {"ErrorTimeoutExpired"}},
        {item_failed,
         {"ErrorItemSave", "ErrorItemSavePropertyError", "ErrorPropertyUpdate",
          "ErrorDataSizeLimitExceeded", "ErrorMessageSizeExceeded", "ErrorInvalidPropertySet",
          "ErrorInvalidPropertyRequest", "ErrorItemCorrupt", "ErrorCorruptData",
          "ErrorCalendarInvalidRecurrence", "ErrorRecurrenceHasNoOccurrence",
          "ErrorInvalidIdMalformed", "ErrorInvalidExtendedPropertyValue"}},
        {item_gone, {"ErrorInvalidAttachmentId", "ErrorItemNotFound"}},
        {reread,
         {"ErrorIrresolvableConflict", "ErrorStaleObject",
          "ErrorChangeKeyRequiredForWriteOperations", "ErrorInvalidChangeKey"}},
        {bisect, {"ErrorSchemaValidation", "ErrorInvalidRequest"}},
        {mailbox_disabled,
         {"ErrorNonExistentMailbox", "ErrorAccountDisabled", "ErrorMailboxLogonFailed",
          "ErrorImpersonateUserDenied", "ErrorImpersonationDenied", "ErrorAccessDenied",
          "ErrorInvalidUserPrincipalName", "ErrorNonPrimarySmtpAddress", "ErrorInvalidLicense",
          "ErrorPasswordChangeRequired"}},
        {mailbox_full, {"ErrorQuotaExceeded"}},
        {folder_gone, {"ErrorFolderNotFound", "ErrorSyncFolderNotFound"}},
        {resync, {"ErrorInvalidSyncStateData"}}};
    for (const auto& [disposition, codes] : classes) {
        for (const char* code : codes) {
            ASSERT_TRUE(meaning_of(code)) << code;
            EXPECT_EQ(meaning_of(code)->disposition, disposition) << code;
            const bool of_an_item =
                disposition == item_failed || disposition == item_gone || disposition == reread;
            EXPECT_EQ(failure(soap(fault(code), 500)).disposition,
                      of_an_item ? bisect : disposition)
                << code;
        }
    }
    EXPECT_EQ(meaning_of("ErrorSomethingNew"), std::nullopt);
    EXPECT_EQ(meaning_of(""), std::nullopt);
    EXPECT_EQ(meaning_of("NoError"), std::nullopt);
}

TEST(Codes, ThatAreUnknownAreNeverASuccess) {
    EXPECT_EQ(item_failure("ErrorSomethingNew").disposition, item_failed);
    const Failure whole = failure(soap(fault("ErrorSomethingNew"), 500));
    EXPECT_EQ(whole.disposition, back_off);
    EXPECT_TRUE(whole.may_have_happened);
}

TEST(Codes, OfOneItemAreNotBisected) {
    EXPECT_EQ(item_failure("ErrorInvalidRequest").disposition, item_failed);
    EXPECT_EQ(item_failure("ErrorInternalServerError").disposition, item_failed);
}

TEST(Codes, MaySayNothingOfWhatWasAskedFor) {
    EXPECT_EQ(item_failure("ErrorInternalServerError").scope, Scope::request);
    EXPECT_EQ(failure(soap(fault("ErrorInternalServerError"), 500)).scope, Scope::request);
    EXPECT_EQ(item_failure("ErrorItemSave").scope, Scope::mailbox);
    EXPECT_EQ(failure(soap(fault("ErrorSchemaValidation"), 500)).scope, Scope::mailbox);
}

TEST(Codes, OfOperationsWithoutItemsAreTheRequests) {
    const auto listing = [](const char* code) {
        return failure(soap(messages("FindItem", {error(code)})), ListStamps{"F", 0}).disposition;
    };
    EXPECT_EQ(listing("ErrorItemNotFound"), folder_gone);
    EXPECT_EQ(listing("ErrorItemCorrupt"), back_off);
    EXPECT_EQ(listing("ErrorSomethingNew"), back_off);
    EXPECT_EQ(listing("ErrorRestrictionTooComplex"), shrink_batch);
    EXPECT_EQ(listing("ErrorAccessDenied"), mailbox_disabled);
}

TEST(Codes, SayWhetherAWriteMayHaveHappened) {
    EXPECT_TRUE(item_failure("ErrorTimeoutExpired").may_have_happened);
    EXPECT_TRUE(item_failure("ErrorInternalServerTransientError").may_have_happened);
    EXPECT_FALSE(item_failure("ErrorServerBusy").may_have_happened);
    EXPECT_FALSE(item_failure("ErrorItemSave").may_have_happened);
    EXPECT_FALSE(
        failure(soap(fault("ErrorTimeoutExpired"), 500), GetItems{Object::contact, {"A"}, {}})
            .may_have_happened);
}

TEST(Busy, GivesItsPauseInEveryShape) {
    const std::string in_types =
        "<t:MessageXml xmlns:t=\"urn:t\"><t:Value Name=\"BackOffMilliseconds\">297749</t:Value>"
        "</t:MessageXml>";
    const Failure in_fault = failure(soap(fault("ErrorServerBusy", "busy", in_types), 500));
    EXPECT_EQ(in_fault.disposition, retry_later);
    EXPECT_EQ(in_fault.retry_after, 297749ms);
    EXPECT_EQ(in_fault.message, "busy");
    EXPECT_FALSE(in_fault.may_have_happened);
    const Failure in_item = item_failure("ErrorServerBusy", "busy",
                                         "<t:Value Name=\"BackOffMilliseconds\"> 5000 </t:Value>");
    EXPECT_EQ(in_item.retry_after, 5000ms);
    EXPECT_EQ(in_item.disposition, retry_later);
    const Failure inner =
        item_failure("ErrorInternalServerError", "failed",
                     "<t:Value Name=\"InnerErrorResponseCode\">ErrorServerBusy</t:Value>"
                     "<t:Value Name=\"BackOffMilliseconds\">7000</t:Value>");
    EXPECT_EQ(inner.disposition, retry_later);
    EXPECT_EQ(inner.code, "ErrorServerBusy");
    EXPECT_EQ(inner.retry_after, 7000ms);
}

TEST(Busy, PausesStayInBounds) {
    const auto paused = [](const std::string& text) {
        return item_failure("ErrorServerBusy", "busy",
                            "<t:Value Name=\"BackOffMilliseconds\">" + text + "</t:Value>")
            .retry_after;
    };
    EXPECT_EQ(paused("99999999999999999999999"), 1h);
    EXPECT_EQ(paused("4000000000"), 1h);
    EXPECT_EQ(paused("-5"), 0ms);
    EXPECT_EQ(paused("soon"), 0ms);
    EXPECT_EQ(paused(""), 0ms);
}

TEST(Fault, TellsWhereTheSchemaIsViolated) {
    const Failure violated = failure(soap(
        fault("ErrorSchemaValidation", "The request failed schema validation.",
              "<t:MessageXml><t:LineNumber>1</t:LineNumber><t:LinePosition>456</t:LinePosition>"
              "<t:Violation>bad element</t:Violation></t:MessageXml>"),
        500));
    EXPECT_EQ(violated.disposition, bisect);
    EXPECT_EQ(violated.message,
              "The request failed schema validation. (line 1, position 456: bad element)");
}

TEST(Fault, MayComeWithStatus200AndWithoutDetail) {
    EXPECT_EQ(failure(soap(fault("ErrorServerBusy"), 200)).disposition, retry_later);
    const Failure bare =
        failure(soap("<s:Fault><faultcode>s:Client</faultcode>"
                     "<faultstring>no</faultstring></s:Fault>",
                     500));
    EXPECT_EQ(bare.disposition, back_off);
    EXPECT_EQ(bare.code, "Client");
    EXPECT_EQ(bare.message, "no");
    EXPECT_EQ(failure(soap("<s:Fault/>", 500)).code, "SOAP-FAULT");
}

TEST(Fault, OffersTheRightAddress) {
    const Failure wrong = failure(soap(
        fault(
            "ErrorNonPrimarySmtpAddress", "not primary",
            "<t:MessageXml><t:Value Name=\"Primary\">ann.lee@example.org</t:Value></t:MessageXml>"),
        500));
    EXPECT_EQ(wrong.disposition, mailbox_disabled);
    EXPECT_EQ(wrong.correct_address, "ann.lee@example.org");
    EXPECT_EQ(wrong.message, "not primary (ann.lee@example.org)");
    const Failure in_words =
        failure(soap(fault("ErrorNonPrimarySmtpAddress", "use 'ann.lee@example.org'."), 500));
    EXPECT_EQ(in_words.correct_address, "ann.lee@example.org");
    EXPECT_EQ(in_words.message, "use 'ann.lee@example.org'.");
    EXPECT_EQ(failure(soap(fault("ErrorNonPrimarySmtpAddress", "use @ or a@ or @b"), 500))
                  .correct_address,
              "");
}

TEST(Messages, AreCleanAndBounded) {
    const Failure long_one = item_failure("ErrorItemSave", std::string(100'000, 'x') + "\xC3\xA4");
    EXPECT_LE(long_one.message.size(), 1000u);
    const Failure dirty = item_failure("ErrorItemSave", "a&#1;\xFF\xED\xA0\x80 b\n");
    EXPECT_EQ(record::text_problem(dirty.message), std::nullopt);
    const Failure strange = item_failure("Error Item<!-- -->Save'; DROP TABLE", "x");
    EXPECT_EQ(strange.code, "NO-CODE");
}

struct HttpCase {
    int status;
    const char* body;
    const char* content_type;
    Disposition disposition;
    bool may_have_happened;
};

class Http : public testing::TestWithParam<HttpCase> {};

TEST_P(Http, WithoutSoapIsJudgedByItsStatus) {
    const HttpCase& one = GetParam();
    const Failure judged = failure(http(one.status, one.body, one.content_type));
    EXPECT_EQ(judged.disposition, one.disposition) << one.status << " " << judged.message;
    EXPECT_EQ(judged.may_have_happened, one.may_have_happened) << one.status;
    EXPECT_FALSE(judged.message.empty());
}

constexpr const char* sign_in_page =
    "<!DOCTYPE html><html><head><title>Sign in</title></head></html>";

INSTANTIATE_TEST_SUITE_P(
    Statuses, Http,
    testing::Values(
        HttpCase{200, "", "text/xml", back_off, true}, HttpCase{200, " \n", "", back_off, true},
        HttpCase{200, sign_in_page, "text/html", target_broken, true},
        HttpCase{200, "hello", "text/plain", target_broken, true},
        HttpCase{200, "<?xml version=\"1.0\"?><s:Enve", "text/xml", back_off, true},
        HttpCase{200, "<a/>", "text/xml", target_broken, true},
        HttpCase{204, "", "", target_broken, true},
        HttpCase{400, "Bad Request", "text/html", bisect, false},
        HttpCase{401, "", "", credentials, false},
        HttpCase{401, "<s:Envelope/>", "text/xml", credentials, false},
        HttpCase{403, sign_in_page, "text/html", back_off, false},
        HttpCase{404, sign_in_page, "text/html", target_broken, false},
        HttpCase{405, "", "", target_broken, false}, HttpCase{408, "", "", shrink_batch, true},
        HttpCase{413, "", "", shrink_batch, false}, HttpCase{429, "", "", retry_later, false},
        HttpCase{440, "", "", credentials, false},
        HttpCase{500, "<html><body>Server Error in '/EWS' Application</body></html>", "text/html",
                 back_off, true},
        HttpCase{500, "<?xml version=\"1.0\"?><s:Enve", "text/xml", back_off, true},
        HttpCase{502, "", "", back_off, true}, HttpCase{503, "", "", retry_later, true},
        HttpCase{504, "", "", shrink_batch, true}));

TEST(HttpFailure, HasItsCodeAndTheTitleOfThePage) {
    const Failure failed = failure(http(404, sign_in_page, "text/html"));
    EXPECT_EQ(failed.code, "HTTP-404");
    EXPECT_EQ(failed.message, "Sign in");
}

// IIS says so, too, of a request that is larger than it takes (404.13).
TEST(HttpFailure, OfALargeRequestMayLookLikeAWrongAddress) {
    const Failure several = failure(http(404, "", ""), create(2));
    EXPECT_EQ(several.disposition, shrink_batch);
    EXPECT_EQ(several.scope, Scope::request);
    EXPECT_FALSE(several.may_have_happened);
    EXPECT_EQ(failure(http(404, "", ""), create(1)).disposition, target_broken);
    EXPECT_EQ(failure(http(404, "", ""), GetItems{Object::contact, {"A", "B"}, {}}).disposition,
              target_broken);
}

TEST(HttpFailure, OfABusyServerTakesItsPause) {
    net::Response busy = http(503, "", "");
    busy.retry_after = 120s;
    EXPECT_EQ(failure(busy).retry_after, 120s);
    EXPECT_FALSE(failure(busy).may_have_happened);
    busy.retry_after = 1000h;
    EXPECT_EQ(failure(busy).retry_after, 1h);
    net::Response fault_busy = soap(fault("ErrorServerBusy"), 503);
    fault_busy.retry_after = 7s;
    EXPECT_EQ(failure(fault_busy).retry_after, 7s);
}

TEST(HttpFailure, OfARedirectDependsOnWhereItLeads) {
    net::Response redirect = http(302, "", "");
    redirect.location = "/owa/auth/GenericErrorPage.htm?aspxerrorpath=/ews";
    EXPECT_EQ(failure(redirect).disposition, back_off);
    redirect.location = "https://login.example.org/";
    EXPECT_EQ(failure(redirect).disposition, target_broken);
    EXPECT_NE(failure(redirect).message.find("login.example.org"), std::string::npos);
}

TEST(HttpFailure, TellsALockedAccount) {
    EXPECT_EQ(failure(http(401, "The referenced account is currently locked out", "")).message,
              "the account is locked out");
}

// As the token server's do.
TEST(TransportFailure, TakesThePauseThatComesWithIt) {
    net::Response response;
    response.error = net::TransportError{net::TransportErrorKind::broken, "no access token"};
    EXPECT_EQ(failure(response).disposition, back_off);
    response.retry_after = 120s;
    EXPECT_EQ(failure(response).disposition, retry_later);
    EXPECT_EQ(failure(response).retry_after, 120s);
    EXPECT_EQ(failure(response).scope, Scope::target);
    response.retry_after = 24h;
    EXPECT_EQ(failure(response).retry_after, 1h);
    response.error->kind = net::TransportErrorKind::credentials;
    EXPECT_EQ(failure(response).disposition, credentials);
}

TEST(TransportFailure, LeadsToWhatItsKindSays) {
    using enum net::TransportErrorKind;
    const auto of = [](net::TransportErrorKind kind, bool sent) {
        net::Response response;
        response.error = net::TransportError{kind, "words"};
        response.request_was_sent = sent;
        return failure(response);
    };
    EXPECT_EQ(of(resolve, false).disposition, back_off);
    EXPECT_EQ(of(connect, false).disposition, back_off);
    EXPECT_EQ(of(tls, false).disposition, target_broken);
    EXPECT_EQ(of(timeout, true).disposition, shrink_batch);
    EXPECT_EQ(of(timeout, false).disposition, back_off);
    EXPECT_EQ(of(too_large, true).disposition, shrink_batch);
    EXPECT_EQ(of(broken, true).disposition, back_off);
    EXPECT_EQ(of(net::TransportErrorKind::credentials, false).disposition,
              Disposition::credentials);
    EXPECT_EQ(of(configuration, false).disposition, target_broken);
    EXPECT_EQ(of(cancelled, true).disposition, back_off);
    EXPECT_EQ(of(timeout, true).message, "words");
    EXPECT_TRUE(of(timeout, true).may_have_happened);
    EXPECT_TRUE(of(cancelled, true).may_have_happened);
    EXPECT_FALSE(of(connect, false).may_have_happened);
    net::Response reading;
    reading.error = net::TransportError{timeout, "words"};
    reading.request_was_sent = true;
    EXPECT_FALSE(failure(reading, GetItems{Object::contact, {"A"}, {}}).may_have_happened);
}

}  // namespace
}  // namespace crmsync::exchange::ews
