// What the tests of directory/ share.
#pragma once

#include <list>
#include <string>

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "directory/socket.h"

namespace crmsync::test {

inline const directory::ShouldStop never = [] { return false; };

// What a server says to a request of a connection, the first being 1 (RFC 4511): the tag of the
// answer, and the result code.
inline std::string answer_to(char request, char tag, char code = 0) {
    return std::string("\x30\x0c\x02\x01", 4) + request + tag + std::string("\x07\x0a\x01", 3) +
           code + std::string("\x04\x00\x04\x00", 4);
}

inline std::string first_answer(char tag, char code = 0) {
    return answer_to(1, tag, code);
}

constexpr char bind_answer = '\x61';
constexpr char search_done = '\x65';
constexpr char extended_answer = '\x78';

// A socket whose queue is full: Linux swallows what a TCP client sends to it.
class FullQueue {
  public:
    FullQueue(const sockaddr* address, socklen_t length) {
        const directory::Socket& listener = open(address->sa_family);
        EXPECT_EQ(bind(listener.get(), address, length), 0);
        EXPECT_EQ(listen(listener.get(), 0), 0);
        length_ = sizeof(address_);
        getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address_), &length_);
        for (int i = 0; i < 3; ++i) {
            ::connect(open(address->sa_family).get(), reinterpret_cast<sockaddr*>(&address_),
                      length_);
        }
    }
    int port() const { return ntohs(reinterpret_cast<const sockaddr_in*>(&address_)->sin_port); }

  private:
    const directory::Socket& open(int family) {
        return sockets_.emplace_back(::socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    }

    sockaddr_storage address_{};
    socklen_t length_ = 0;
    std::list<directory::Socket> sockets_;
};

inline FullQueue swallowing_server() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return {reinterpret_cast<sockaddr*>(&address), sizeof(address)};
}

}  // namespace crmsync::test
