#include "net_names.h"

#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>

#include <atomic>
#include <string_view>
#include <thread>

namespace {

std::atomic<int> begun{0};
std::atomic<int> open_to_signals{0};

}  // namespace

extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** result) {
    const std::string_view name = host ? host : "";
    if (name == "missing.test" || name == "slow.test") {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        if (!sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGURG))
            ++open_to_signals;
    }
    if (name == "slow.test") {
        ++begun;
        std::this_thread::sleep_for(crmsync::test::slow_lookup);
    }
    if (name == "missing.test" || name == "slow.test")
        return EAI_NONAME;
    using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getaddrinfo"));
    return next(host, service, hints, result);
}

namespace crmsync::test {

int slow_lookups_begun() {
    return begun;
}

int lookups_open_to_signals() {
    return open_to_signals;
}

}  // namespace crmsync::test
