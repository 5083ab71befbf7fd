// Connecting by itself: what is waited for, and how the socket is set up.
#include <cstring>

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include "directory/error.h"
#include "directory_support.h"
#include "net_server.h"

namespace crmsync::directory {
namespace {

using std::chrono::milliseconds;
using test::never;

TEST(Socket, ALocalSocketWithAFullQueueIsWaitedFor) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = testing::TempDir() + "crmsync-full-" + std::to_string(getpid());
    std::strcpy(address.sun_path, path.c_str());
    const test::FullQueue full(reinterpret_cast<sockaddr*>(&address), sizeof(address));
    const auto begin = Clock::now();
    const auto soon = [begin] { return Clock::now() - begin > milliseconds(200); };
    try {
        connect_local(path, begin + std::chrono::seconds(60), soon);
        ADD_FAILURE() << "connected";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::stopped) << error.what();
    }
    try {
        connect_local(path, begin + milliseconds(400), never);
        ADD_FAILURE() << "connected";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::timeout) << error.what();
    }
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
    unlink(path.c_str());
}

int option(const Socket& socket, int level, int name) {
    int value = -1;
    socklen_t length = sizeof(value);
    getsockopt(socket.get(), level, name, &value, &length);
    return value;
}

TEST(Socket, AConnectionIsKeptAlive) {
    const test::Server there([](test::Connection& connection) { connection.wait_for_close(); });
    const auto port = static_cast<std::uint16_t>(there.port());
    const auto soon = Clock::now() + std::chrono::seconds(5);
    const Socket socket = connect(resolve("127.0.0.1", port, soon, never).front(), soon, never);
    EXPECT_EQ(option(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    EXPECT_EQ(option(socket, IPPROTO_TCP, TCP_KEEPCNT), 3);
}

}  // namespace
}  // namespace crmsync::directory
