// libcurl's objects as values, and what has to be right once for the whole process.
#pragma once

#include <curl/curl.h>
#include <signal.h>

#include <memory>
#include <string>

// CURLOPT_QUICK_EXIT, without which giving up a request waits for a slow name server.
static_assert(LIBCURL_VERSION_NUM >= 0x075700, "libcurl 7.87 or later is needed");

namespace crmsync::net {

template <auto release>
struct Release {
    template <typename T>
    void operator()(T* object) const noexcept {
        release(object);
    }
};

using Easy = std::unique_ptr<CURL, Release<curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, Release<curl_multi_cleanup>>;
using List = std::unique_ptr<curl_slist, Release<curl_slist_free_all>>;

// Initialises libcurl in this process at the first call. Throws std::runtime_error.
void initialize_curl();

// Throws std::bad_alloc when there is no memory for one.
Easy make_easy();
Multi make_multi();

// Appends to a list, so that nothing is lost when memory runs out. Throws std::bad_alloc.
void append(List& list, const std::string& line);

// Throws std::bad_alloc for CURLE_OUT_OF_MEMORY and std::invalid_argument for any other code.
void check_option(CURLcode code, CURLoption option);

template <typename T>
void set_option(CURL* easy, CURLoption option, T value) {
    check_option(curl_easy_setopt(easy, option, value), option);
}

// Text that libcurl or a server has given, fit for a log: one line, printable ASCII, at most 500
// characters.
std::string printable(const std::string& text);

// No signal handler of this process runs in threads started while this object lives.
class SignalsBlocked {
  public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace crmsync::net
