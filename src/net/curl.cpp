#include "net/curl.h"

#include <new>
#include <stdexcept>

namespace crmsync::net {

void initialize_curl() {
    // Not a static object with a destructor: at exit() PostgreSQL has shut down before us.
    static bool done = false;
    if (done)
        return;
    // TLS libraries may start threads at this point too.
    SignalsBlocked blocked;
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        throw std::runtime_error(std::string("could not initialize libcurl: ") +
                                 curl_easy_strerror(code));
    done = true;
}

Easy make_easy() {
    Easy easy(curl_easy_init());
    if (!easy)
        throw std::bad_alloc();
    return easy;
}

Multi make_multi() {
    Multi multi(curl_multi_init());
    if (!multi)
        throw std::bad_alloc();
#if LIBCURL_VERSION_NUM >= 0x081400
    // From 8.20 on it is the multi handle that waits for look-ups that were given up.
    curl_multi_setopt(multi.get(), CURLMOPT_QUICK_EXIT, 1L);
#endif
    return multi;
}

void append(List& list, const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (!longer)
        throw std::bad_alloc();
    static_cast<void>(list.release());  // the longer one has it
    list.reset(longer);
}

void check_option(CURLcode code, CURLoption option) {
    if (code == CURLE_OK)
        return;
    if (code == CURLE_OUT_OF_MEMORY)
        throw std::bad_alloc();
    throw std::invalid_argument("libcurl does not accept its option " +
                                std::to_string(static_cast<int>(option)) + ": " +
                                curl_easy_strerror(code));
}

std::string printable(const std::string& text) {
    std::string line = text.substr(0, 500);
    for (char& c : line)
        if (c < 0x20 || c > 0x7e)
            c = c == '\n' || c == '\r' || c == '\t' ? ' ' : '?';
    return line;
}

}  // namespace crmsync::net
