// Sends recorded request bodies again, as fast as libcurl alone can: what shipping costs at least.
//
//   replay URL USER:PASSWORD CONNECTIONS DIRECTORY [TIMES]     DIRECTORY has one file a request,
//   NUMBER.request; all of them are sent so many times
//
// The bodies are read before the clock starts. Connections are kept open, and each takes the next
// body as soon as it has its answer. Ids of folders are those of another run: the mailbox's
// contacts take their place. Prints "requests N", "seconds S", and "cpu_seconds S", the processor
// time that sending them took here; fails on any status but 200.
#include <curl/curl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

// CURL and CURLM are both void to the compiler, so each kind has a deleter of its own.
struct EasyCleanup {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct MultiCleanup {
    void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct ListCleanup {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyCleanup>;

void use_contacts_folder(std::string& body) {
    static constexpr std::string_view begin = "<t:FolderId ";
    static constexpr std::string_view contacts = R"(<t:DistinguishedFolderId Id="contacts"/>)";
    for (std::size_t at = body.find(begin); at != std::string::npos;
         at = body.find(begin, at + 1)) {
        body.replace(at, body.find("/>", at) + 2 - at, contacts);
    }
}

std::vector<std::string> read_bodies(const std::filesystem::path& directory) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        if (entry.path().string().ends_with("request.xml")) {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    std::vector<std::string> bodies;
    for (const auto& file : files) {
        std::ifstream in(file, std::ios::binary);
        bodies.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
        use_contacts_folder(bodies.back());
    }
    return bodies;
}

double cpu_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

std::size_t discard(char*, std::size_t size, std::size_t count, void*) {
    return size * count;
}

class Replay {
  public:
    Replay(const char* url, const char* login, std::vector<std::string> bodies)
        : url_(url), login_(login), bodies_(std::move(bodies)), multi_(curl_multi_init()) {
        headers_.reset(curl_slist_append(nullptr, "Content-Type: text/xml; charset=utf-8"));
        curl_slist_append(headers_.get(), "Expect:");
    }

    void run(int connections, std::size_t times) {
        left_ = bodies_.size() * times;
        std::vector<Easy> handles;
        for (int i = 0; i < connections; ++i) {
            handles.push_back(make_handle());
            start(handles.back().get());
        }
        int running = 1;
        while (running > 0) {
            curl_multi_perform(multi_.get(), &running);
            int left = 0;
            while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
                finish(message);
                running += start(message->easy_handle) ? 1 : 0;
            }
            if (running > 0) {
                curl_multi_poll(multi_.get(), nullptr, 0, 1000, nullptr);
            }
        }
    }

  private:
    Easy make_handle() {
        Easy handle(curl_easy_init());
        curl_easy_setopt(handle.get(), CURLOPT_URL, url_);
        curl_easy_setopt(handle.get(), CURLOPT_USERPWD, login_);
        curl_easy_setopt(handle.get(), CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
        curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers_.get());
        curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
        return handle;
    }

    // False when there is nothing left to send.
    bool start(CURL* handle) {
        if (left_ == 0) {
            return false;
        }
        --left_;
        const std::string& body = bodies_[next_++ % bodies_.size()];
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.data());
        return curl_multi_add_handle(multi_.get(), handle) == CURLM_OK;
    }

    void finish(const CURLMsg* message) {
        long status = 0;
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        if (message->data.result != CURLE_OK || status != 200) {
            throw std::runtime_error(std::string("a request failed: ") +
                                     curl_easy_strerror(message->data.result) + ", status " +
                                     std::to_string(status));
        }
        curl_multi_remove_handle(multi_.get(), message->easy_handle);
    }

    const char* url_;
    const char* login_;
    std::vector<std::string> bodies_;
    std::size_t next_ = 0;
    std::size_t left_ = 0;
    std::unique_ptr<CURLM, MultiCleanup> multi_;
    std::unique_ptr<curl_slist, ListCleanup> headers_;
};

}  // namespace

int main(int count, char** arguments) {
    if (count != 5 && count != 6) {
        std::fprintf(stderr, "usage: replay URL USER:PASSWORD CONNECTIONS DIRECTORY [TIMES]\n");
        return 2;
    }
    try {
        std::vector<std::string> bodies = read_bodies(arguments[4]);
        if (bodies.empty()) {
            throw std::runtime_error(std::string("no requests in ") + arguments[4]);
        }
        const std::size_t times = count == 6 ? std::strtoul(arguments[5], nullptr, 10) : 1;
        std::printf("requests %zu\n", bodies.size() * times);
        Replay replay(arguments[1], arguments[2], std::move(bodies));
        const double cpu_before = cpu_seconds();
        const auto started = std::chrono::steady_clock::now();
        replay.run(std::atoi(arguments[3]), times);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
        std::printf("seconds %.3f\ncpu_seconds %.3f\n", took.count(), cpu_seconds() - cpu_before);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "replay: %s\n", error.what());
        return 1;
    }
}
