// The lowest layer below libldap: what it reads and writes, TLS included, goes through here.
// libldap waits for the beginning of an answer as we tell it; in the middle of a message, of a TLS
// handshake or of a long request it waits as long as the server likes, or asks again without a
// pause. Here such a wait ends: with the timeout, or when the caller asks to stop.
#pragma once

#include <chrono>
#include <exception>
#include <string>

#include <ldap.h>

#include "directory/error.h"
#include "directory/socket.h"

namespace crmsync::directory {

class Wire {
  public:
    // The peer is named in messages. The timeout is for each silence, however long the whole takes.
    Wire(int descriptor, std::string peer, std::chrono::milliseconds timeout,
         ShouldStop should_stop);
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;

    // Once, before any other layer; the object must live as long as the handle.
    void put_below(LDAP* ldap);

    // Beside the timeout: no wait goes on after this moment.
    void set_deadline(Clock::time_point deadline) noexcept { deadline_ = deadline; }
    void clear_deadline() noexcept { deadline_ = Clock::time_point::max(); }

    // When a wait that began at this moment ends, unless something arrives.
    Clock::time_point end_of_wait(Clock::time_point begin) const noexcept;

    // Whether the server has ever sent anything.
    bool has_heard() const noexcept { return heard_ != Clock::time_point(); }

    // The Error of a wait that has ended without an answer.
    Error silence(Clock::time_point begin) const;

    // libldap's functions cannot hand on what is thrown below them: whoever calls one that may wait
    // asks for it afterwards.
    void rethrow() const;

  private:
    static Wire& of(Sockbuf_IO_Desc* layer) noexcept {
        return *static_cast<Wire*>(layer->sbiod_pvt);
    }
    static int set_up(Sockbuf_IO_Desc* layer, void* wire);
    static int control(Sockbuf_IO_Desc* layer, int option, void* argument);
    static ber_slen_t read(Sockbuf_IO_Desc* layer, void* bytes, ber_len_t length);
    static ber_slen_t write(Sockbuf_IO_Desc* layer, void* bytes, ber_len_t length);
    static Sockbuf_IO functions;

    Clock::time_point silent_since(Clock::time_point begin) const noexcept;
    template <class Move>
    ber_slen_t transfer(short event, Move move) noexcept;
    bool wait(short event, Clock::time_point begin) noexcept;

    int descriptor_;
    std::string peer_;
    std::chrono::milliseconds timeout_;
    ShouldStop should_stop_;
    Clock::time_point deadline_ = Clock::time_point::max();
    Clock::time_point heard_;
    std::exception_ptr failure_;
};

}  // namespace crmsync::directory
