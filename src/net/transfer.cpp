#include "net/transfer.h"

#include <ctime>
#include <new>
#include <string_view>
#include <utility>

#include "net/easy_options.h"
#include "net/retry_after.h"
#include "net/transport_error.h"

namespace crmsync::net {

namespace {

// Far more than any server sends in earnest.
constexpr std::size_t header_limit = 256u << 10;

std::string header(CURL* easy, const char* name) {
    curl_header* found = nullptr;
    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
        return {};
    return found->value;
}

std::string text_information(CURL* easy, CURLINFO which) {
    char* text = nullptr;
    curl_easy_getinfo(easy, which, &text);
    return text ? text : "";
}

}  // namespace

Transfer::Transfer(const Endpoint& endpoint, const std::string& url)
    : easy_(make_easy()), stall_time_(static_cast<long>(endpoint.stall_timeout.count())) {
    CURL* easy = easy_.get();
    set_connection_options(easy, endpoint, url);
    set_option(easy, CURLOPT_PRIVATE, this);
    set_option(easy, CURLOPT_ERRORBUFFER, error_text_);
    set_option(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set_option(easy, CURLOPT_WRITEDATA, this);
    set_option(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set_option(easy, CURLOPT_HEADERDATA, this);
    set_option(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_start);
    set_option(easy, CURLOPT_PREREQDATA, this);
    // Not with every TLS library; then the messages are a little less exact.
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, &Transfer::on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, this);
    set_option(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    set_option(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set_option(easy, CURLOPT_COOKIEFILE, "");
    set_option(easy, CURLOPT_POST, 1L);
}

void Transfer::prepare(Request request, const List& headers) {
    CURL* easy = easy_.get();
    if (request.session != request_.session)
        set_option(easy, CURLOPT_COOKIELIST, "ALL");
    request_ = std::move(request);
    body_.clear();
    error_text_[0] = '\0';
    header_size_ = 0;
    starts_ = 0;
    sent_before_ = 0;
    securing_ = answered_ = too_large_ = died_ = out_of_memory_ = false;
    set_option(easy, CURLOPT_HTTPHEADER, headers.get());
    set_option(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set_option(easy, CURLOPT_POSTFIELDS, request_.body.data());
    set_option(easy, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(request_.answer_limit));
    // The server may think as long as the whole timeout; only an answer that has begun can stall.
    set_option(easy, CURLOPT_LOW_SPEED_TIME, 0L);
}

void Transfer::set_bearer(const std::string& token) {
    set_option(easy_.get(), CURLOPT_XOAUTH2_BEARER, token.c_str());
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count,
                              void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    const std::size_t bytes = size * count;
    if (bytes > transfer.request_.answer_limit - transfer.body_.size()) {
        transfer.too_large_ = true;
        return 0;
    }
    try {
        transfer.body_.append(data, bytes);
    } catch (const std::exception&) {
        transfer.out_of_memory_ = true;
        return 0;
    }
    return bytes;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count,
                                void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    const std::size_t bytes = size * count;
    transfer.header_size_ += bytes;
    if (transfer.header_size_ > header_limit) {
        transfer.too_large_ = true;
        return 0;
    }
    const std::string_view line(data, bytes);
    const bool interim = line.starts_with("HTTP/1.1 1") || line.starts_with("HTTP/1.0 1");
    if (line.starts_with("HTTP/") && !interim && !transfer.answered_) {
        transfer.answered_ = true;
        transfer.answered_at_ = std::time(nullptr);
        CURL* easy = transfer.easy_.get();
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, stall_speed);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, transfer.stall_time_);
    }
    return bytes;
}

// libcurl sends a request again by itself when a kept connection closes without an answer. A create
// that the server has carried out before closing would then be carried out twice, so such a second
// attempt is let through only when it can do no harm.
int Transfer::on_start(void* self, char*, char*, int, int) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    long sent = 0;
    curl_easy_getinfo(transfer.easy_.get(), CURLINFO_REQUEST_SIZE, &sent);
    const bool unanswered = transfer.starts_ > 0 && !transfer.answered_;
    if (unanswered && sent > transfer.sent_before_ && !transfer.request_.repeatable) {
        transfer.died_ = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (transfer.answered_)
        curl_easy_setopt(transfer.easy_.get(), CURLOPT_LOW_SPEED_TIME, 0L);
    ++transfer.starts_;
    transfer.sent_before_ = sent;
    transfer.answered_ = false;
    transfer.body_.clear();
    return CURL_PREREQFUNC_OK;
}

CURLcode Transfer::on_tls(CURL*, void*, void* self) noexcept {
    static_cast<Transfer*>(self)->securing_ = true;
    return CURLE_OK;
}

long Transfer::connection() const noexcept {
    long port = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_LOCAL_PORT, &port);
    return port;
}

bool Transfer::was_reused() const noexcept {
    long connections = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_NUM_CONNECTS, &connections);
    return starts_ > 0 && connections == 0;
}

// Many answers come within one second.
std::optional<std::time_t> Transfer::date() {
    std::string text = header(easy_.get(), "Date");
    if (text != date_text_) {
        date_ = curl_getdate(text.c_str(), nullptr);
        date_text_ = std::move(text);
    }
    return date_ == -1 ? std::nullopt : std::optional(date_);
}

Response Transfer::answer() {
    CURL* easy = easy_.get();
    Response response;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    response.body = std::move(body_);
    response.content_type = text_information(easy, CURLINFO_CONTENT_TYPE);
    if (status >= 300 && status < 400)  // as it came: CURLINFO_REDIRECT_URL has the password in it
        response.location = header(easy, "Location");
    const std::optional<std::time_t> now = date();
    // Not CURLINFO_RETRY_AFTER: it cannot tell zero from absent, and cuts off fractions.
    if (status < 200 || status >= 300)
        if (std::string pause = header(easy, "Retry-After"); !pause.empty())
            response.retry_after = parse_retry_after(pause, now.value_or(answered_at_));
    if (now)
        response.clock_ahead = std::chrono::seconds(*now - answered_at_);
    return response;
}

Response Transfer::failure(CURLcode code) {
    Response response;
    if (out_of_memory_ || code == CURLE_OUT_OF_MEMORY)
        response.error = {TransportErrorKind::broken, "out of memory while receiving the answer"};
    else if (too_large_ || code == CURLE_FILESIZE_EXCEEDED)
        response.error = {TransportErrorKind::too_large, "the answer is larger than " +
                                                             std::to_string(request_.answer_limit) +
                                                             " bytes, or its headers are"};
    else if (died_)
        response.error = {TransportErrorKind::broken,
                          "the server closed the connection without an answer"};
    else
        response.error = transport_error(
            easy_.get(), code,
            reached_phase(easy_.get(), {securing_, starts_ > 0, answered_}, request_.body.size()),
            error_text_);
    return response;
}

Response Transfer::finish(CURLcode code) {
    Response response = code == CURLE_OK ? answer() : failure(code);
    curl_off_t duration = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_TOTAL_TIME_T, &duration);
    response.duration = std::chrono::microseconds(duration);
    // From the first attempt on: what TLS has taken but not reported may have reached the server.
    response.request_was_sent = starts_ > 0;
    response.connection_was_reused = was_reused();
    return response;
}

Response Transfer::give_up(const std::string& message) {
    Response response = finish(CURLE_ABORTED_BY_CALLBACK);
    response.error = {TransportErrorKind::cancelled, message};
    return response;
}

}  // namespace crmsync::net
