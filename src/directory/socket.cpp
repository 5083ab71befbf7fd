#include "directory/socket.h"

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

#include "directory/error.h"

namespace crmsync::directory {

namespace {

constexpr std::chrono::milliseconds slice{100};

// What the resolver's thread and its caller share; the last of the two frees it, since a resolver
// that hangs in a dead name server cannot be cancelled.
struct Resolution {
    std::mutex mutex;
    std::condition_variable finished;
    bool done = false;
    int result = 0;
    std::string host;
    std::string service;
    std::vector<Address> addresses;
};

void look_up(const std::shared_ptr<Resolution>& resolution) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* list = nullptr;
    const int result =
        getaddrinfo(resolution->host.c_str(), resolution->service.c_str(), &hints, &list);
    const std::lock_guard lock(resolution->mutex);
    resolution->result = result;
    for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
        Address address;
        address.length = entry->ai_addrlen;
        address.family = entry->ai_family;
        std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
        resolution->addresses.push_back(address);
    }
    if (list != nullptr)
        freeaddrinfo(list);
    resolution->done = true;
    resolution->finished.notify_one();
}

// The process's signals belong to its main thread: handlers of PostgreSQL must not run in this one.
void start_with_signals_blocked(const std::shared_ptr<Resolution>& resolution) {
    sigset_t all;
    sigset_t previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    try {
        std::thread(look_up, resolution).detach();
    } catch (const std::system_error& error) {
        pthread_sigmask(SIG_SETMASK, &previous, nullptr);
        throw Error(ErrorKind::resolve,
                    std::string("could not start a thread to resolve names: ") + error.what());
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
}

Error connect_error(const std::string& where, int error_number) {
    return {ErrorKind::connect,
            "could not connect to " + where + ": " + std::generic_category().message(error_number),
            "check the host name, the port and the firewalls between"};
}

int finished_connect_error(int descriptor) {
    int error_number = 0;
    socklen_t length = sizeof(error_number);
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0)
        return errno;
    return error_number;
}

void set_option(int descriptor, int level, int option, int value) {
    setsockopt(descriptor, level, option, &value, sizeof(value));
}

// A peer that is gone without a word is noticed although nobody waits for it just now, or for long.
void keep_alive(int descriptor) {
    set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace

std::string Address::text() const {
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
    if (getnameinfo(reinterpret_cast<const sockaddr*>(&storage), length, host, sizeof(host),
                    service, sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "?";
    return family == AF_INET6 ? "[" + std::string(host) + "]:" + service
                              : std::string(host) + ":" + service;
}

Socket& Socket::operator=(Socket&& other) noexcept {
    if (this != &other) {
        if (descriptor_ >= 0)
            close(descriptor_);
        descriptor_ = other.release();
    }
    return *this;
}

Socket::~Socket() {
    if (descriptor_ >= 0)
        close(descriptor_);
}

int Socket::release() noexcept {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    return descriptor;
}

std::vector<Address> resolve(const std::string& host, std::uint16_t port,
                             Clock::time_point deadline, const ShouldStop& should_stop) {
    const auto resolution = std::make_shared<Resolution>();
    resolution->host = host;
    resolution->service = std::to_string(port);
    start_with_signals_blocked(resolution);

    std::unique_lock lock(resolution->mutex);
    while (!resolution->finished.wait_for(lock, slice, [&] { return resolution->done; })) {
        if (should_stop())
            throw Error(ErrorKind::stopped, "stopped while resolving \"" + host + "\"");
        if (Clock::now() >= deadline)
            throw Error(ErrorKind::timeout, "no name server answered in time for \"" + host + "\"");
    }
    if (resolution->result != 0 || resolution->addresses.empty())
        throw Error(ErrorKind::resolve,
                    "could not resolve \"" + host + "\": " + gai_strerror(resolution->result),
                    "check the host name in the target's url");
    return resolution->addresses;
}

Socket connect(const Address& address, Clock::time_point deadline, const ShouldStop& should_stop) {
    const std::string where = address.text();
    Socket socket(::socket(address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0)
        throw connect_error(where, errno);
    set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    keep_alive(socket.get());

    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage),
                  address.length) != 0) {
        if (errno != EINPROGRESS)
            throw connect_error(where, errno);
        pollfd waiting{socket.get(), POLLOUT, 0};
        while (poll(&waiting, 1, static_cast<int>(slice.count())) <= 0) {
            if (should_stop())
                throw Error(ErrorKind::stopped, "stopped while connecting to " + where);
            if (Clock::now() >= deadline)
                throw Error(ErrorKind::timeout, "no answer from " + where + " in time",
                            "check the host name, the port and the firewalls between");
        }
        if (const int error_number = finished_connect_error(socket.get()); error_number != 0)
            throw connect_error(where, error_number);
    }
    return socket;
}

Socket connect_local(const std::string& path, Clock::time_point deadline,
                     const ShouldStop& should_stop) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        throw Error(ErrorKind::configuration, "the socket's path \"" + path + "\" is too long");
    std::memcpy(address.sun_path, path.data(), path.size());
    Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0)
        throw connect_error("\"" + path + "\"", errno);
    while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
           0) {
        // Of a server that accepts nothing any more the queue is full; poll does not wait for that.
        if (errno != EAGAIN)
            throw connect_error("\"" + path + "\"", errno);
        if (should_stop())
            throw Error(ErrorKind::stopped, "stopped while connecting to \"" + path + "\"");
        if (Clock::now() >= deadline)
            throw Error(ErrorKind::timeout, "the server at \"" + path + "\" accepts nobody");
        std::this_thread::sleep_for(slice);
    }
    return socket;
}

}  // namespace crmsync::directory
