// One easy handle and the request that it carries out. It is used for one request after another, so
// that libcurl's buffers, cookies and authentication state live on.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "net/client.h"
#include "net/curl.h"

namespace crmsync::net {

class Transfer {
  public:
    // Prepares a handle for requests to `url` with the endpoint's way to connect. Throws as
    // set_option does.
    Transfer(const Endpoint& endpoint, const std::string& url);
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    CURL* handle() const noexcept { return easy_.get(); }

    // Makes the handle ready to be added to a multi handle. Throws std::bad_alloc.
    void prepare(Request request, const List& headers);

    // The token of oauth2 for this and the following requests. Throws std::bad_alloc.
    void set_bearer(const std::string& token);

    // What came of the request; to be called once, before the next prepare().
    Response finish(CURLcode code);

    // What came of a request that is given up.
    Response give_up(const std::string& message);

    // The request, to be prepared again.
    Request take_request() { return std::move(request_); }

    const std::string& session() const noexcept { return request_.session; }

    // The local port of the connection, which tells connections of one endpoint apart; 0: none.
    long connection() const noexcept;

  private:
    static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                               void* self) noexcept;
    static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                                 void* self) noexcept;
    static int on_start(void* self, char*, char*, int, int) noexcept;
    static CURLcode on_tls(CURL*, void*, void* self) noexcept;

    bool was_reused() const noexcept;
    std::optional<std::time_t> date();  // the server's, of its answer
    Response answer();
    Response failure(CURLcode code);

    Easy easy_;
    long stall_time_;
    Request request_;
    std::string body_;
    char error_text_[CURL_ERROR_SIZE] = "";
    std::size_t header_size_ = 0;
    std::time_t answered_at_ = 0;
    std::string date_text_;  // of the answer before, and what it says
    std::time_t date_ = -1;
    int starts_ = 0;              // attempts to send this request
    curl_off_t sent_before_ = 0;  // bytes of requests sent when the current attempt began
    bool securing_ = false;       // TLS has begun
    bool answered_ = false;       // a status line has arrived since the current attempt began
    bool too_large_ = false;
    bool died_ = false;  // the connection died with the request sent and not repeatable
    bool out_of_memory_ = false;
};

}  // namespace crmsync::net
