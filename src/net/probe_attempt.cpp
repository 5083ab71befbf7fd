#include "net/probe_attempt.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "net/easy_options.h"

namespace crmsync::net {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

struct Seen {
    Progress progress;
    Clock::time_point start = Clock::now();
    microseconds tls_began{0};
};

std::size_t ignore_body(char*, std::size_t size, std::size_t count, void*) noexcept {
    return size * count;
}

std::size_t on_header(char*, std::size_t size, std::size_t count, void* self) noexcept {
    static_cast<Seen*>(self)->progress.answered = true;
    return size * count;
}

int on_start(void* self, char*, char*, int, int) noexcept {
    static_cast<Seen*>(self)->progress.started = true;
    return CURL_PREREQFUNC_OK;
}

CURLcode on_tls(CURL*, void*, void* self) noexcept {
    auto& seen = *static_cast<Seen*>(self);
    seen.progress.securing = true;
    seen.tls_began = std::chrono::duration_cast<microseconds>(Clock::now() - seen.start);
    return CURLE_OK;
}

void set_options(CURL* easy, const Endpoint& endpoint, bool verify, Seen& seen) {
    Endpoint how = endpoint;
    how.timeout = 2 * endpoint.connect_timeout;
    how.tls_verify = endpoint.tls_verify && verify;
    set_connection_options(easy, how, endpoint.url);
    set_option(easy, CURLOPT_CERTINFO, 1L);
    set_option(easy, CURLOPT_CONNECT_ONLY, verify ? 0L : 1L);
    set_option(easy, CURLOPT_WRITEFUNCTION, &ignore_body);
    set_option(easy, CURLOPT_HEADERFUNCTION, &on_header);
    set_option(easy, CURLOPT_HEADERDATA, &seen);
    set_option(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set_option(easy, CURLOPT_PREREQFUNCTION, &on_start);
    set_option(easy, CURLOPT_PREREQDATA, &seen);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, &on_tls);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, &seen);
    set_option(easy, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(1 << 20));
}

// A handle is never destroyed while it is in a multi handle, also when should_stop throws.
class Membership {
  public:
    Membership(CURLM* multi, CURL* easy) : multi_(multi), easy_(easy) {
        curl_multi_add_handle(multi, easy);
    }
    ~Membership() { curl_multi_remove_handle(multi_, easy_); }
    Membership(const Membership&) = delete;
    Membership& operator=(const Membership&) = delete;

  private:
    CURLM* multi_;
    CURL* easy_;
};

// nullopt: stopped.
std::optional<CURLcode> run(CURLM* multi, const std::function<bool()>& should_stop) {
    for (;;) {
        int running = 0;
        {
            SignalsBlocked blocked;
            curl_multi_perform(multi, &running);
        }
        int left = 0;
        if (CURLMsg* message = curl_multi_info_read(multi, &left);
            message && message->msg == CURLMSG_DONE)
            return message->data.result;
        if (should_stop())
            return std::nullopt;
        curl_multi_poll(multi, nullptr, 0, 50, nullptr);
    }
}

std::string member(const curl_slist* lines, std::string_view name) {
    for (; lines; lines = lines->next) {
        const std::string_view line = lines->data;
        if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':')
            return printable(std::string(line.substr(name.size() + 1)));
    }
    return {};
}

std::optional<Certificate> certificate(CURL* easy) {
    curl_certinfo* chain = nullptr;
    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &chain) != CURLE_OK || !chain ||
        chain->num_of_certs < 1)
        return std::nullopt;
    const curl_slist* lines = chain->certinfo[0];
    return Certificate{member(lines, "Subject"), member(lines, "Issuer"),
                       member(lines, "X509v3 Subject Alternative Name"),
                       member(lines, "Expire date")};
}

microseconds time(CURL* easy, CURLINFO which) {
    curl_off_t value = 0;
    curl_easy_getinfo(easy, which, &value);
    return microseconds(value);
}

std::vector<std::string> challenges(CURL* easy) {
    std::vector<std::string> offered;
    curl_header* header = nullptr;
    for (std::size_t i = 0; i < 20 && curl_easy_header(easy, "WWW-Authenticate", i, CURLH_HEADER,
                                                       -1, &header) == CURLHE_OK;
         ++i) {
        const std::string value = printable(header->value);
        offered.push_back(value.substr(0, value.find_first_of(" ,")));
    }
    return offered;
}

void read_answer(CURL* easy, ProbeAttempt& result) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    result.status = static_cast<int>(status);
    curl_header* location = nullptr;
    if (curl_easy_header(easy, "Location", 0, CURLH_HEADER, -1, &location) == CURLHE_OK)
        result.location = printable(location->value);
    result.challenges = challenges(easy);
}

}  // namespace

ProbeAttempt attempt_probe(const Endpoint& endpoint, bool verify,
                           const std::function<bool()>& should_stop) {
    initialize_curl();
    const Multi multi = make_multi();
    const Easy easy = make_easy();
    std::array<char, CURL_ERROR_SIZE> text{};
    Seen seen;
    set_options(easy.get(), endpoint, verify, seen);
    set_option(easy.get(), CURLOPT_ERRORBUFFER, text.data());
    const Membership membership(multi.get(), easy.get());
    const std::optional<CURLcode> code = run(multi.get(), should_stop);

    ProbeAttempt result;
    result.phase = reached_phase(easy.get(), seen.progress, 0);
    result.resolved = time(easy.get(), CURLINFO_NAMELOOKUP_TIME_T);
    result.connected = std::max(time(easy.get(), CURLINFO_CONNECT_TIME_T), seen.tls_began);
    result.secured = time(easy.get(), CURLINFO_APPCONNECT_TIME_T);
    result.total = time(easy.get(), CURLINFO_TOTAL_TIME_T);
    char* address = nullptr;
    curl_easy_getinfo(easy.get(), CURLINFO_PRIMARY_IP, &address);
    result.address = address ? address : "";
    result.certificate = certificate(easy.get());
    read_answer(easy.get(), result);
    // An answer that has begun is enough, whatever became of its body.
    if (!code)
        result.error = {TransportErrorKind::cancelled, "given up"};
    else if (*code != CURLE_OK && result.status == 0)
        result.error = transport_error(easy.get(), *code, result.phase, text.data());
    return result;
}

}  // namespace crmsync::net
