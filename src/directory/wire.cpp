#include "directory/wire.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include <poll.h>
#include <sys/socket.h>

namespace crmsync::directory {

namespace {

constexpr std::chrono::milliseconds between_questions{100};

bool must_wait(ssize_t moved) {
    return moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

}  // namespace

Wire::Wire(int descriptor, std::string peer, std::chrono::milliseconds timeout,
           ShouldStop should_stop)
    : descriptor_(descriptor),
      peer_(std::move(peer)),
      timeout_(timeout),
      should_stop_(std::move(should_stop)) {}

Sockbuf_IO Wire::functions = {set_up, nullptr, control, read, write, nullptr};

int Wire::set_up(Sockbuf_IO_Desc* layer, void* wire) {
    layer->sbiod_pvt = wire;
    return 0;
}

int Wire::control(Sockbuf_IO_Desc* layer, int option, void* argument) {
    return LBER_SBIOD_CTRL_NEXT(layer, option, argument);
}

// libldap switches the socket between blocking and not, differently in every version: MSG_DONTWAIT
// does not depend on it.
ber_slen_t Wire::read(Sockbuf_IO_Desc* layer, void* bytes, ber_len_t length) {
    Wire& wire = of(layer);
    const ber_slen_t count =
        wire.transfer(POLLIN, [&] { return recv(wire.descriptor_, bytes, length, MSG_DONTWAIT); });
    if (count > 0) {
        wire.heard_ = Clock::now();
    }
    return count;
}

ber_slen_t Wire::write(Sockbuf_IO_Desc* layer, void* bytes, ber_len_t length) {
    Wire& wire = of(layer);
    return wire.transfer(POLLOUT, [&] {
        return send(wire.descriptor_, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    });
}

// Never EAGAIN: of that libldap makes a loop, or half a request.
template <class Move>
ber_slen_t Wire::transfer(short event, Move move) noexcept {
    std::optional<Clock::time_point> begin;
    while (!failure_) {
        const ssize_t moved = move();
        if (!must_wait(moved)) {
            return moved;
        }
        if (!begin) {
            begin = Clock::now();
        }
        if (!wait(event, *begin)) {
            break;
        }
    }
    errno = ETIMEDOUT;
    return -1;
}

bool Wire::wait(short event, Clock::time_point begin) noexcept {
    try {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(end_of_wait(begin) - Clock::now());
        if (left.count() <= 0) {
            throw Error(silence(begin));
        }
        pollfd waiting{descriptor_, event, 0};
        poll(&waiting, 1, static_cast<int>(std::min(left, between_questions).count()));
        if (should_stop_()) {
            throw Error(ErrorKind::stopped, "stopped while waiting for " + peer_);
        }
        return true;
    } catch (...) {
        failure_ = std::current_exception();
        return false;
    }
}

void Wire::put_below(LDAP* ldap) {
    Sockbuf* socket = nullptr;
    if (ldap_get_option(ldap, LDAP_OPT_SOCKBUF, &socket) != LDAP_OPT_SUCCESS || socket == nullptr ||
        ber_sockbuf_add_io(socket, &functions, LBER_SBIOD_LEVEL_PROVIDER, this) != 0) {
        throw Error(ErrorKind::configuration, "libldap takes no layer below itself");
    }
}

Clock::time_point Wire::silent_since(Clock::time_point begin) const noexcept {
    return std::max(begin, heard_);
}

Clock::time_point Wire::end_of_wait(Clock::time_point begin) const noexcept {
    return std::min(silent_since(begin) + timeout_, deadline_);
}

Error Wire::silence(Clock::time_point begin) const {
    const auto waited = std::chrono::ceil<std::chrono::seconds>(
        std::max(end_of_wait(begin) - silent_since(begin), Clock::duration(1)));
    return {ErrorKind::timeout,
            peer_ + " sent nothing for " + std::to_string(waited.count()) +
                (waited.count() == 1 ? " second" : " seconds"),
            has_heard() ? "raise the target's option timeout if the server is that slow"
                        : "check scheme and port: who expects TLS is silent without it; or raise "
                          "the target's option timeout if the server is that slow"};
}

void Wire::rethrow() const {
    if (failure_) {
        std::rethrow_exception(failure_);
    }
}

}  // namespace crmsync::directory
