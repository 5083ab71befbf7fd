// From a host name to a connected socket, which does not block, without ever blocking for longer
// than a moment: libldap would do the same with a resolver and a connect that cannot be
// interrupted.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sys/socket.h>

namespace crmsync::directory {

// Asked several times a second while waiting; true makes the operation end with ErrorKind::stopped.
using ShouldStop = std::function<bool()>;

using Clock = std::chrono::steady_clock;

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
    int family = 0;

    std::string text() const;  // the numeric address
};

// A file descriptor that closes itself.
class Socket {
  public:
    Socket() = default;
    explicit Socket(int descriptor) : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept : descriptor_(other.release()) {}
    Socket& operator=(Socket&& other) noexcept;
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket();

    int get() const noexcept { return descriptor_; }
    int release() noexcept;

  private:
    int descriptor_ = -1;
};

// All addresses of a host in the resolver's order. Throws Error (resolve, timeout, stopped).
std::vector<Address> resolve(const std::string& host, std::uint16_t port,
                             Clock::time_point deadline, const ShouldStop& should_stop);

// Connects to the address. Throws Error (connect, timeout, stopped).
Socket connect(const Address& address, Clock::time_point deadline, const ShouldStop& should_stop);

// Connects to a socket in the file system (ldapi). Throws Error (connect, timeout, stopped).
Socket connect_local(const std::string& path, Clock::time_point deadline,
                     const ShouldStop& should_stop);

}  // namespace crmsync::directory
