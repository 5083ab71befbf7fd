#include "net/descriptor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace crmsync::net {

namespace {

Descriptor made(int number, const char* what) {
    if (number < 0)
        throw std::runtime_error(std::string("could not create an ") + what +
                                 " descriptor: " + std::strerror(errno));
    return Descriptor(number);
}

}  // namespace

Descriptor::~Descriptor() {
    if (number_ >= 0)
        close(number_);
}

Descriptor make_epoll() {
    return made(epoll_create1(EPOLL_CLOEXEC), "epoll");
}

Descriptor make_event() {
    return made(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "event");
}

void signal(const Descriptor& event) noexcept {
    eventfd_write(event.number(), 1);
}

void clear(const Descriptor& event) noexcept {
    eventfd_t count = 0;
    eventfd_read(event.number(), &count);
}

}  // namespace crmsync::net
