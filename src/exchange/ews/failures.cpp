// Whatever a server says is text from outside: cleaned, cut to a length, numbers kept in bounds.
#include "exchange/ews/failures.h"

#include <algorithm>
#include <charconv>

#include "exchange/ews/response_codes.h"
#include "exchange/ews/xml.h"
#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t longest_message = 1000;  // bytes, as promised by Failure::message
constexpr std::size_t longest_code = 100;
constexpr std::size_t longest_address = 320;  // 64 of the mailbox, @, 255 of the domain
constexpr milliseconds longest_pause = std::chrono::hours{1};

std::string words(std::string_view text) {
    return record::cleaned(record::trimmed(text), longest_message);
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != text.npos;
}

// A response code as a word, or empty when the server wrote something else there.
std::string code_word(std::string_view text) {
    const std::string_view word = record::trimmed(text);
    const bool good =
        word.size() <= longest_code && std::all_of(word.begin(), word.end(), [](char c) {
            return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        });
    return good ? std::string(word) : std::string{};
}

// <Value Name="..."> below a MessageXml, in whatever namespace.
std::string named_value(pugi::xml_node message_xml, std::string_view name) {
    for (pugi::xml_node value : children(message_xml, "Value")) {
        if (value.attribute("Name").value() == name) {
            return text_of(value);
        }
    }
    return {};
}

milliseconds bounded(std::optional<milliseconds> pause) {
    return std::clamp(pause.value_or(milliseconds{0}), milliseconds{0}, longest_pause);
}

milliseconds pause(std::string_view text) {
    const std::string_view digits = record::trimmed(text);
    long long number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc::result_out_of_range) {
        return longest_pause;
    }
    if (error != std::errc{} || end == digits.data()) {
        return milliseconds{0};
    }
    return bounded(milliseconds{number});
}

// The first word that looks like an address.
std::string address_in(std::string_view text) {
    constexpr std::string_view around = " \t\r\n\"'<>()[],;";
    std::size_t at = 0;
    while ((at = text.find_first_not_of(around, at)) != text.npos) {
        const std::size_t end = std::min(text.find_first_of(around, at), text.size());
        std::string_view word = text.substr(at, end - at);
        while (!word.empty() && (word.back() == '.' || word.back() == ':')) {
            word.remove_suffix(1);
        }
        const std::size_t sign = word.find('@');
        if (sign != word.npos && sign > 0 && sign + 1 < word.size() &&
            word.size() <= longest_address && !record::text_problem(word)) {
            return std::string(word);
        }
        at = end;
    }
    return {};
}

std::string correct_address(pugi::xml_node message_xml, std::string_view message) {
    for (pugi::xml_node value : children(message_xml)) {
        if (std::string address = address_in(text_of(value)); !address.empty()) {
            return address;
        }
    }
    return address_in(message);
}

// What the code and the details mean together, for an item and for a whole request alike.
Failure failure_of(std::string code, std::string_view message, pugi::xml_node message_xml,
                   Disposition unknown, bool write) {
    const std::string inner = code_word(named_value(message_xml, "InnerErrorResponseCode"));
    const bool generic = code == "ErrorInternalServerError";
    auto meaning = meaning_of(code);
    Failure failure{.disposition = unknown, .code = std::move(code), .message = words(message)};
    const auto inner_meaning = meaning_of(inner);
    if (inner_meaning && (generic || inner == "ErrorServerBusy")) {
        meaning = inner_meaning;
        failure.message = words(failure.message + " (" + failure.code + ")");
        failure.code = inner;
    } else if (!inner.empty()) {
        failure.message = words(failure.message + " (" + inner + ": " +
                                named_value(message_xml, "InnerErrorMessageText") + ")");
    }
    if (meaning) {
        failure.disposition = meaning->disposition;
        failure.may_have_happened = write && meaning->uncertain;
        failure.damaged = meaning->damaged;
    } else {
        failure.may_have_happened = write && unknown == Disposition::back_off;
    }
    if (failure.code == "ErrorInternalServerError") {
        // What is in the request may be the reason, or the server may do so whatever it is asked.
        failure.scope = Scope::request;
    }
    failure.retry_after = pause(named_value(message_xml, "BackOffMilliseconds"));
    if (failure.code == "ErrorNonPrimarySmtpAddress") {
        failure.correct_address = correct_address(message_xml, message);
        if (!contains(failure.message, failure.correct_address)) {
            failure.message = words(failure.message + " (" + failure.correct_address + ")");
        }
    }
    return failure;
}

// A front-end server answers 503 and 502 also when only the server behind it that holds this
// mailbox is down, and 404 when that is being moved. 401 and 440 are of the credentials.
Scope scope_of_status(int status) {
    switch (status) {
        case 400:
        case 408:
        case 413:
            return Scope::request;
        case 401:
        case 440:
            return Scope::target;
        case 502:
        case 503:
            return Scope::mailbox;
        default:
            return status >= 400 && status < 500 ? Scope::mailbox : Scope::request;
    }
}

Failure http(const net::Response& response, Disposition disposition, std::string_view message,
             bool uncertain) {
    return {.disposition = disposition,
            .code = "HTTP-" + std::to_string(response.status),
            .message = words(message),
            .may_have_happened = uncertain,
            .scope = scope_of_status(response.status)};
}

// What a person reads on the page instead of its markup: nothing of it is needed but its title.
std::string page_title(std::string_view body) {
    const std::size_t open = body.find("<title>");
    const std::size_t close = body.find("</title>");
    if (open == body.npos || close == body.npos || close < open + 7) {
        return {};
    }
    return words(body.substr(open + 7, close - open - 7));
}

Failure redirect_failure(const net::Response& response, bool write) {
    const std::string target = record::cleaned(response.location, 300);
    if (contains(record::lower_ascii(target), "genericerrorpage")) {
        return http(response, Disposition::back_off, "the server redirects to its error page",
                    write);
    }
    return http(response, Disposition::target_broken,
                "the server redirects to " + (target.empty() ? "nowhere" : target), false);
}

}  // namespace

bool writes(const Operation& operation) {
    return !only_reads(operation);
}

Failure transport_failure(const net::Response& response, bool write) {
    using enum net::TransportErrorKind;
    const bool uncertain = write && response.request_was_sent;
    // Once it was sent, what was in it may be the reason; before, it cannot be.
    const auto make = [&](Disposition disposition, const char* code) {
        return Failure{.disposition = disposition,
                       .code = code,
                       .message = words(response.error->message),
                       .retry_after = bounded(response.retry_after),
                       .may_have_happened = uncertain,
                       .scope = response.request_was_sent ? Scope::request : Scope::target};
    };
    switch (response.error->kind) {
        case resolve:
            return make(Disposition::back_off, "DNS");
        case connect:
            return make(Disposition::back_off, "CONNECT");
        case tls:
            return make(Disposition::target_broken, "TLS");
        case timeout:
            return make(
                response.request_was_sent ? Disposition::shrink_batch : Disposition::back_off,
                "TIMEOUT");
        case too_large:
            return make(Disposition::shrink_batch, "ANSWER-TOO-LARGE");
        case broken:
            return make(response.retry_after ? Disposition::retry_later : Disposition::back_off,
                        "CONNECTION");
        case credentials:
            return make(Disposition::credentials, "CREDENTIALS");
        case configuration:
            return make(Disposition::target_broken, "CONFIGURATION");
        case cancelled:
            return make(Disposition::back_off, "CANCELLED");
    }
    return make(Disposition::back_off, "TRANSPORT");
}

Failure http_failure(const net::Response& response, bool write) {
    const std::string title = page_title(response.body);
    const auto say = [&](std::string_view otherwise) {
        return title.empty() ? std::string(otherwise) : title;
    };
    const int status = response.status;
    if (status == 401 || status == 440) {
        const bool locked = contains(response.body, "referenced account is currently locked out");
        return http(
            response, Disposition::credentials,
            locked ? "the account is locked out" : "the server does not accept the credentials",
            false);
    }
    if (status == 429 || status == 503) {
        Failure failure = http(response, Disposition::retry_later, say("the server is busy"),
                               write && status == 503 && !response.retry_after);
        failure.retry_after = bounded(response.retry_after);
        return failure;
    }
    if (status >= 300 && status < 400) {
        return redirect_failure(response, write);
    }
    if (status == 408 || status == 504) {
        return http(response, Disposition::shrink_batch, say("the request took too long"), write);
    }
    if (status == 413) {
        return http(response, Disposition::shrink_batch, say("the request is too large"), false);
    }
    if (status == 400) {
        return http(response, Disposition::bisect,
                    say("the server does not understand the request"), false);
    }
    if (status == 403) {
        return http(response, Disposition::back_off, say("the server denies access"), false);
    }
    if (status >= 400 && status < 500) {
        return http(response, Disposition::target_broken,
                    say("there are no Exchange Web Services at this address"), false);
    }
    if (status >= 500) {
        return http(response, Disposition::back_off, say("the server failed"), write);
    }
    return http(response, Disposition::target_broken,
                say("the answer is not one of Exchange Web Services"), write);
}

Failure broken_answer(std::string_view code, std::string_view message, bool write) {
    return {.disposition = Disposition::back_off,
            .code = std::string(code),
            .message = words(message),
            .may_have_happened = write,
            .scope = Scope::request};
}

Failure fault_failure(pugi::xml_node fault, const net::Response& response, bool write) {
    const pugi::xml_node detail = child(fault, "detail");
    std::string code = code_word(text_of(child(detail, "ResponseCode")));
    if (code.empty()) {
        const std::string qualified = text_of(child(fault, "faultcode"));
        const std::size_t colon = qualified.rfind(':');
        code = code_word(colon == qualified.npos ? qualified : qualified.substr(colon + 1));
    }
    std::string message = text_of(child(detail, "Message"));
    if (record::trimmed(message).empty()) {
        message = text_of(child(fault, "faultstring"));
    }
    const pugi::xml_node message_xml = child(detail, "MessageXml");
    if (const std::string violation = text_of(child(message_xml, "Violation"));
        !violation.empty()) {
        message += " (line " + text_of(child(message_xml, "LineNumber")) + ", position " +
                   text_of(child(message_xml, "LinePosition")) + ": " + violation + ")";
    }
    if (!meaning_of(code) &&
        (response.status == 401 || response.status == 429 || response.status == 503)) {
        Failure failure = http_failure(response, write);
        failure.message = words(message);
        return failure;
    }
    Failure failure = failure_of(code.empty() ? "SOAP-FAULT" : std::move(code), message,
                                 message_xml, Disposition::back_off, write);
    if (about_one_item(failure.disposition)) {
        failure.disposition = Disposition::bisect;  // some item is the cause, and nobody says which
    }
    if (failure.retry_after == milliseconds{0}) {
        failure.retry_after = bounded(response.retry_after);
    }
    return failure;
}

bool about_one_item(Disposition disposition) {
    return disposition == Disposition::item_failed || disposition == Disposition::item_gone ||
           disposition == Disposition::reread;
}

std::optional<Failure> message_failure(pugi::xml_node message, bool write) {
    const std::string_view response_class = message.attribute("ResponseClass").value();
    const auto said = text_of(child(message, "ResponseCode"));
    std::string code = code_word(said);
    // The schema lets a server leave the code out.
    if ((response_class != "Error" && code == "NoError") ||
        (response_class == "Success" && said.empty())) {
        return std::nullopt;
    }
    const bool is_unclear = code.empty() || code == "NoError";
    if (is_unclear) {
        code = "NO-CODE";
    }
    Failure failure = failure_of(std::move(code), text_of(child(message, "MessageText")),
                                 child(message, "MessageXml"), Disposition::item_failed, write);
    failure.may_have_happened |= is_unclear && write;
    if (failure.disposition == Disposition::bisect) {
        // There is nothing left to divide: the server names the item.
        failure.disposition = Disposition::item_failed;
    }
    return failure;
}

}  // namespace crmsync::exchange::ews
