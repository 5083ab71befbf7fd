#include "directory/connection.h"

#include <cstdlib>
#include <thread>

#include <openldap.h>

#include "directory/fail_over.h"
#include "directory/tls.h"
#include "record/text.h"

namespace crmsync::directory {

namespace {

constexpr std::chrono::milliseconds between_looks{200};

// A server sends entry after entry. Whoever sleeps until there is one is woken up for each, which
// costs both sides more than the entry does; after this while there are some dozens.
constexpr std::chrono::microseconds gathering{500};

// A longer message is not read: a hostile server must not fill our memory.
constexpr ber_len_t longest_message = 256u << 20;

constexpr std::size_t longest_diagnostic = 500;

timeval to_timeval(std::chrono::milliseconds duration) {
    timeval value{};
    value.tv_sec = duration.count() / 1000;
    value.tv_usec = static_cast<suseconds_t>(duration.count() % 1000 * 1000);
    return value;
}

std::string text_option(LDAP* ldap, int option) {
    char* text = nullptr;
    if (ldap_get_option(ldap, option, &text) != LDAP_OPT_SUCCESS || text == nullptr) {
        return {};
    }
    std::string copy(text);
    ldap_memfree(text);
    return copy;
}

ErrorKind kind_of(int code) {
    switch (code) {
        case LDAP_INVALID_CREDENTIALS:
        case LDAP_INAPPROPRIATE_AUTH:
        case LDAP_STRONG_AUTH_REQUIRED:
        case LDAP_AUTH_METHOD_NOT_SUPPORTED:
        case LDAP_CONFIDENTIALITY_REQUIRED:
            return ErrorKind::credentials;
        case LDAP_INSUFFICIENT_ACCESS:
            return ErrorKind::denied;
        case LDAP_NO_SUCH_OBJECT:
            return ErrorKind::not_found;
        case LDAP_SERVER_DOWN:
        case LDAP_CONNECT_ERROR:
            return ErrorKind::lost;
        case LDAP_TIMEOUT:
            return ErrorKind::timeout;
        case LDAP_FILTER_ERROR:
        case LDAP_PARAM_ERROR:
        case LDAP_INVALID_DN_SYNTAX:
            return ErrorKind::configuration;
        default:
            return ErrorKind::incomplete;
    }
}

const char* hint_for(int code) {
    switch (code) {
        case LDAP_INVALID_CREDENTIALS:
            return "check username and secret of the target; the account may be locked or expired";
        case LDAP_STRONG_AUTH_REQUIRED:
        case LDAP_CONFIDENTIALITY_REQUIRED:
            return "the server wants an encrypted connection: use ldaps:// or the option start_tls";
        case LDAP_NO_SUCH_OBJECT:
            return "check the base; some servers also say so when the account may not read it";
        case LDAP_SIZELIMIT_EXCEEDED:
        case LDAP_ADMINLIMIT_EXCEEDED:
            return "raise the server's limit for this account, lower page_size, or narrow base and "
                   "filter";
        case LDAP_TIMELIMIT_EXCEEDED:
            return "raise the server's time limit for this account, or narrow base and filter";
        case LDAP_FILTER_ERROR:
            return "check the filter of the link: it is written as in RFC 4515";
        default:
            return "";
    }
}

// What libldap says with GnuTLS of every certificate that it does not accept.
constexpr std::string_view any_certificate = "(unknown error code)";

std::string hint_for_tls(const std::string& reason, const std::string& host) {
    const auto names = [&](const char* word) { return reason.find(word) != std::string::npos; };
    if (!names("certificate") && !names("hostname")) {
        return "the server must speak TLS 1.2 or later at this port: ldaps:// begins with it, "
               "ldap:// with start_tls asks for it first";
    }
    std::string hint =
        "the certificate must be issued for this host name by an authority in ca_file, and be "
        "valid today";
    if (host == "localhost") {
        hint += "; for localhost libldap wants the name of the machine in it";
    }
    return hint;
}

}  // namespace

Connection::Connection(const Server& server, ShouldStop should_stop)
    : server_(server), should_stop_(std::move(should_stop)) {
    try_in_turn(parse_urls(server_.url), Clock::now() + server_.timeout,
                [&](const Endpoint& endpoint, Clock::time_point deadline) {
                    endpoint_ = endpoint;
                    reach(deadline);
                });
    read_ahead();
}

void Connection::reach(Clock::time_point deadline) {
    if (endpoint_.scheme == "ldapi") {
        log_on(connect_local(endpoint_.host, deadline, should_stop_), deadline);
        return;
    }
    try_in_turn(
        resolve(endpoint_.host, endpoint_.port, deadline, should_stop_), deadline,
        [&](const Address& address, Clock::time_point share) {
            log_on(connect(address, share, should_stop_), share);
        },
        Told::answered);
}

void Connection::log_on(Socket socket, Clock::time_point deadline) {
    open(std::move(socket));
    wire_->set_deadline(deadline);
    secure();
    bind();
    wire_->clear_deadline();
}

// Without it libldap asks the kernel three times for each entry. Not before the last layer is in
// place: what is read ahead may belong to the next one.
void Connection::read_ahead() {
    Sockbuf* socket = nullptr;
    if (ldap_get_option(ldap_.get(), LDAP_OPT_SOCKBUF, &socket) == LDAP_OPT_SUCCESS &&
        socket != nullptr) {
        int bytes = 64 << 10;
        ber_sockbuf_add_io(socket, &ber_sockbuf_io_readahead, LBER_SBIOD_LEVEL_PROVIDER, &bytes);
    }
}

Connection::Connection(const Server& server, const Endpoint& endpoint, Socket socket,
                       ShouldStop should_stop)
    : server_(server), endpoint_(endpoint), should_stop_(std::move(should_stop)) {
    open(std::move(socket));
}

bool Connection::uses_tls() const noexcept {
    return ldap_tls_inplace(ldap_.get()) != 0;
}

void Connection::open(Socket socket) {
    // Before libldap looks for its files for the first time in this process.
    setenv("LDAPNOINIT", "1", 1);
    auto wire = std::make_unique<Wire>(socket.get(), peer(), server_.timeout, should_stop_);
    LDAP* ldap = nullptr;
    const int protocol = endpoint_.scheme == "ldapi" ? LDAP_PROTO_IPC : LDAP_PROTO_TCP;
    const std::string url = endpoint_.scheme == "ldapi" ? "" : endpoint_.url();
    const int code =
        ldap_init_fd(socket.get(), protocol, url.empty() ? nullptr : url.c_str(), &ldap);
    if (code != LDAP_SUCCESS) {
        throw Error(ErrorKind::configuration,
                    std::string("libldap refused the connection: ") + ldap_err2string(code), "",
                    code);
    }
    socket.release();
    ldap_.reset();
    wire_ = std::move(wire);
    ldap_.reset(ldap);
    wire_->put_below(ldap);
    set_options();
}

void Connection::set_options() {
    const int version = LDAP_VERSION3;
    const int none = 0;
    const timeval timeout = to_timeval(server_.timeout);
    ber_len_t limit = longest_message;
    LDAP* ldap = ldap_.get();

    ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    // A signal, such as that of a reload, must not be taken for a connection that was lost.
    ldap_set_option(ldap, LDAP_OPT_RESTART, LDAP_OPT_ON);
    ldap_set_option(ldap, LDAP_OPT_DEREF, &none);
    ldap_set_option(ldap, LDAP_OPT_SIZELIMIT, &none);
    ldap_set_option(ldap, LDAP_OPT_TIMELIMIT, &none);
    ldap_set_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, &timeout);
    ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &timeout);
    ldap_set_option(ldap, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON);

    Sockbuf* socket = nullptr;
    if (ldap_get_option(ldap, LDAP_OPT_SOCKBUF, &socket) == LDAP_OPT_SUCCESS && socket != nullptr) {
        ber_sockbuf_ctrl(socket, LBER_SB_OPT_SET_MAX_INCOMING, &limit);
    }
}

void Connection::install_tls() {
    const int code = ldap_install_tls(ldap_.get());
    wire_->rethrow();
    if (code != LDAP_SUCCESS) {
        std::string reason = text_option(ldap_.get(), LDAP_OPT_DIAGNOSTIC_MESSAGE);
        if (reason == any_certificate) {
            reason = "its certificate is not accepted";
        } else if (reason.empty()) {
            reason = ldap_err2string(code);
        }
        throw Error(ErrorKind::tls, "no TLS connection to " + peer() + ": " + reason,
                    hint_for_tls(reason, endpoint_.host), code);
    }
}

void Connection::secure() {
    if (endpoint_.scheme == "ldaps") {
        if (server_.start_tls) {
            throw Error(ErrorKind::configuration, "start_tls cannot be used with ldaps://",
                        "use ldap:// with start_tls, or ldaps:// without");
        }
        set_tls_options(ldap_.get(), server_);
        install_tls();
    } else if (server_.start_tls) {
        set_tls_options(ldap_.get(), server_);
        int message_id = 0;
        const int code = ldap_start_tls(ldap_.get(), nullptr, nullptr, &message_id);
        if (code != LDAP_SUCCESS) {
            throw local_failure(code, "StartTLS");
        }
        const Message answer = wait(message_id);
        const Result result(ldap_.get(), answer.get());
        if (result.code != LDAP_SUCCESS) {
            throw Error(ErrorKind::tls,
                        peer() + " refused StartTLS: " + ldap_err2string(result.code) +
                            (result.diagnostic.empty() ? "" : " (" + result.diagnostic + ")"),
                        "use ldaps://, or switch TLS on at the server", result.code);
        }
        install_tls();
    }
}

void Connection::bind() {
    if (server_.auth == Auth::none) {
        return;  // LDAPv3 needs no bind to be anonymous
    }
    berval secret{server_.secret.size(), server_.secret.data()};
    const char* mechanism = LDAP_SASL_SIMPLE;
    const char* name = server_.username.c_str();
    if (server_.auth == Auth::external) {
        mechanism = "EXTERNAL";
        name = nullptr;
        secret = berval{server_.username.size(), server_.username.data()};
    } else if (server_.secret.empty() || server_.username.empty()) {
        // RFC 4513, 5.1.2: the server would take it for an anonymous bind and say success.
        throw Error(ErrorKind::configuration,
                    "a simple bind needs a username and a secret that is not empty",
                    "set both, or auth => 'none' to read anonymously");
    }
    int message_id = 0;
    const int code =
        ldap_sasl_bind(ldap_.get(), name, mechanism, &secret, nullptr, nullptr, &message_id);
    if (code != LDAP_SUCCESS) {
        throw local_failure(code, "bind");
    }
    const Message answer = wait(message_id);
    const Result result(ldap_.get(), answer.get());
    if (result.code != LDAP_SUCCESS) {
        throw refusal(result.code, result.diagnostic);
    }
}

Error Connection::refusal(int code, const std::string& diagnostic) const {
    Error error = failure(code, "bind", diagnostic);
    const char* hint = hint_for(LDAP_INVALID_CREDENTIALS);
    switch (code) {
        // It lets nobody in just now, and says nothing of the password: another server may.
        case LDAP_BUSY:
        case LDAP_UNAVAILABLE:
            return {ErrorKind::connect, error.what(), error.hint(), code};
        // Of an account that is inactive or not there; but 389 Directory Server also says so of all
        // while its data are loaded.
        case LDAP_UNWILLING_TO_PERFORM:
        case LDAP_NO_SUCH_OBJECT:
            return {ErrorKind::connect, error.what(), hint, code};
        // What servers have for accounts that are locked or expired. 389 Directory Server counts
        // what a locked account tries.
        case LDAP_CONSTRAINT_VIOLATION:
        case LDAP_INSUFFICIENT_ACCESS:
            return {ErrorKind::credentials, error.what(), hint, code};
        default:
            return error;
    }
}

Message Connection::wait(int message_id) const {
    const auto begin = Clock::now();
    timeval patience{};
    for (;; patience = to_timeval(between_looks)) {
        LDAPMessage* message = nullptr;
        const int type = ldap_result(ldap_.get(), message_id, LDAP_MSG_ONE, &patience, &message);
        if (type > 0) {
            return Message(message);
        }
        wire_->rethrow();
        if (type < 0) {
            int code = LDAP_SERVER_DOWN;
            ldap_get_option(ldap_.get(), LDAP_OPT_RESULT_CODE, &code);
            // A signal wakes the poll inside; whether it means us is for should_stop to say.
            if (code != LDAP_SUCCESS) {
                throw local_failure(code, "reading an answer");
            }
        }
        if (should_stop_()) {
            throw Error(ErrorKind::stopped, "stopped while waiting for " + peer());
        }
        if (patience.tv_sec == 0 && patience.tv_usec == 0) {
            std::this_thread::sleep_for(gathering);
        }
        if (Clock::now() >= wire_->end_of_wait(begin)) {
            throw Error(wire_->silence(begin));
        }
    }
}

void Connection::abandon(int message_id) const noexcept {
    ldap_abandon_ext(ldap_.get(), message_id, nullptr, nullptr);
}

Error Connection::failure(int code, const std::string& what, const std::string& diagnostic) const {
    std::string message = what + " at " + peer() + " failed: " + ldap_err2string(code);
    if (!diagnostic.empty()) {
        message += " (" + record::cleaned(diagnostic, longest_diagnostic) + ")";
    }
    return {kind_of(code), message, hint_for(code), code};
}

Error Connection::local_failure(int code, const std::string& what) const {
    wire_->rethrow();
    if (should_stop_()) {
        return {ErrorKind::stopped, "stopped during " + what};
    }
    if (code == LDAP_SERVER_DOWN) {
        return {ErrorKind::lost, "the connection to " + peer() + " was lost during " + what,
                uses_tls() || wire_->has_heard()
                    ? ""
                    : "a server that wants TLS at once may close plain connections",
                code};
    }
    return failure(code, what, text_option(ldap_.get(), LDAP_OPT_DIAGNOSTIC_MESSAGE));
}

Result::Result(LDAP* ldap, LDAPMessage* message) {
    char* text = nullptr;
    char** referrals = nullptr;
    const int parsed =
        ldap_parse_result(ldap, message, &code, nullptr, &text, &referrals, &controls, 0);
    if (text != nullptr) {
        diagnostic = text;
        ldap_memfree(text);
    }
    if (referrals != nullptr) {
        referral = referrals[0] == nullptr ? "" : referrals[0];
        ber_memvfree(reinterpret_cast<void**>(referrals));
    }
    if (parsed != LDAP_SUCCESS) {
        code = parsed;
    }
}

}  // namespace crmsync::directory
