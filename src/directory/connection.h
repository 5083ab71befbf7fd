// One bound connection to one directory server, over libldap. Every option of libldap that a
// configuration file or the environment could set is set here explicitly; ldap.conf is not read.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <ldap.h>

#include "directory/error.h"
#include "directory/socket.h"
#include "directory/url.h"
#include "directory/wire.h"

namespace crmsync::directory {

enum class Auth { none, simple, external };

// Where and how to connect.
struct Server {
    // ldap://, ldaps:// or ldapi://; of several, separated by spaces, the first at which logging on
    // is possible is taken.
    std::string url;
    Auth auth = Auth::simple;
    std::string username;  // the DN to bind as; Active Directory also takes user@domain
    std::string secret;
    bool start_tls = false;  // ldap:// only; if the server cannot, the connection fails
    bool tls_verify = true;
    std::string ca_file;    // PEM; empty: the system's
    std::string cert_file;  // PEM, for Auth::external
    std::string key_file;
    std::chrono::milliseconds timeout{30'000};  // for logging on, and for each silence
};

struct MessageDeleter {
    void operator()(LDAPMessage* message) const noexcept { ldap_msgfree(message); }
};
using Message = std::unique_ptr<LDAPMessage, MessageDeleter>;

class Connection {
  public:
    // Resolves, connects, starts TLS and binds, at one server after the other. Throws Error.
    Connection(const Server& server, ShouldStop should_stop);

    // The same in steps, for check_target: connect to one address, then start_tls, then bind.
    Connection(const Server& server, const Endpoint& endpoint, Socket socket,
               ShouldStop should_stop);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    void secure();
    void bind();
    void read_ahead();

    bool uses_tls() const noexcept;
    std::string peer() const { return endpoint_.url(); }

    LDAP* get() const noexcept { return ldap_.get(); }

    // Waits for the next message that answers the request. Throws Error (lost, timeout, stopped).
    Message wait(int message_id) const;

    // Gives a request up; the server need not answer it.
    void abandon(int message_id) const noexcept;

    // The Error that a result code and the server's own words mean; what names the operation.
    Error failure(int code, const std::string& what, const std::string& diagnostic) const;

    // For a call of libldap that returned this code without an answer of the server.
    Error local_failure(int code, const std::string& what) const;

  private:
    struct Unbind {
        void operator()(LDAP* ldap) const noexcept { ldap_unbind_ext(ldap, nullptr, nullptr); }
    };

    void reach(Clock::time_point deadline);
    void log_on(Socket socket, Clock::time_point deadline);
    void open(Socket socket);
    void set_options();
    void install_tls();

    // The Error of a bind that the server refuses.
    Error refusal(int code, const std::string& diagnostic) const;

    Server server_;
    Endpoint endpoint_;
    ShouldStop should_stop_;
    std::unique_ptr<Wire> wire_;  // outlives the handle
    std::unique_ptr<LDAP, Unbind> ldap_;
};

// The result code, the server's words and the first referral of a result message.
struct Result {
    int code = 0;
    std::string diagnostic;
    std::string referral;
    LDAPControl** controls = nullptr;  // owned by the struct

    Result(LDAP* ldap, LDAPMessage* message);
    ~Result() { ldap_controls_free(controls); }
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
};

}  // namespace crmsync::directory
