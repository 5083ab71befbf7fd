// Several servers in one URL: which failures of the first lead to the second, and that the first
// leaves enough of the time to it.
#include <gtest/gtest.h>

#include "directory/connection.h"
#include "directory/fail_over.h"
#include "directory_support.h"
#include "net_certificates.h"

namespace crmsync::directory {
namespace {

using std::chrono::milliseconds;
using test::bind_answer;
using test::first_answer;
using test::never;

// A server that lets everybody in, or nobody.
class Door {
  public:
    explicit Door(char code, std::optional<test::TlsFiles> tls = std::nullopt)
        : server_(
              [code](test::Connection& connection) {
                  if (!connection.read_some().empty()) {
                      connection.write(first_answer(bind_answer, code));
                  }
                  connection.wait_for_close();
              },
              std::move(tls)) {}

    std::string url(const std::string& scheme = "ldap") const {
        return scheme + "://127.0.0.1:" + std::to_string(server_.port());
    }
    int visitors() const { return server_.connections(); }

  private:
    test::Server server_;
};

Server server_with(const std::string& urls) {
    Server server;
    server.url = urls;
    server.username = "cn=reader,dc=example,dc=com";
    server.secret = "secret";
    server.timeout = milliseconds(1000);
    return server;
}

const Door& good_door() {
    static const Door door(LDAP_SUCCESS);
    return door;
}

// Half of the time is for the second.
void gets_to_the_second(const std::string& first) {
    const auto begin = Clock::now();
    try {
        const Connection connection(server_with(first + " " + good_door().url()), never);
        EXPECT_EQ(connection.peer(), good_door().url()) << first;
    } catch (const Error& error) {
        ADD_FAILURE() << first << ": " << error.what();
    }
    EXPECT_LT(Clock::now() - begin, milliseconds(950)) << first;
}

ErrorKind kind_of(const Server& server) {
    try {
        const Connection connection(server, never);
    } catch (const Error& error) {
        return error.kind();
    }
    return ErrorKind::stopped;
}

TEST(FailOver, FromOneWhoIsNotThere) {
    gets_to_the_second("ldap://127.0.0.1:1");
    gets_to_the_second("ldap://no-such-host.invalid");
    gets_to_the_second("ldapi://%2Fno%2Fsuch%2Fsocket");
}

TEST(FailOver, FromOneWhoSwallowsEverything) {
    const test::FullQueue full = test::swallowing_server();
    gets_to_the_second("ldap://127.0.0.1:" + std::to_string(full.port()));
}

TEST(FailOver, FromOneWhoTakesConnectionsAndIsSilent) {
    const test::Server silent([](test::Connection& connection) { connection.wait_for_close(); });
    gets_to_the_second("ldap://127.0.0.1:" + std::to_string(silent.port()));
    gets_to_the_second("ldaps://127.0.0.1:" + std::to_string(silent.port()));
}

TEST(FailOver, FromOneWhoHangsUp) {
    const test::Server rude([](test::Connection& connection) { connection.wait_for_bytes(); });
    gets_to_the_second("ldap://127.0.0.1:" + std::to_string(rude.port()));
    gets_to_the_second("ldaps://127.0.0.1:" + std::to_string(rude.port()));
}

TEST(FailOver, FromOneWhoseCertificateIsNotTrusted) {
    test::Certificates certificates;
    const Door stranger(LDAP_SUCCESS, certificates.make({.known_issuer = false}));
    const Door friendly(LDAP_SUCCESS, certificates.make());
    Server server = server_with(stranger.url("ldaps") + " " + friendly.url("ldaps"));
    server.ca_file = certificates.ca_file();
    EXPECT_EQ(Connection(server, never).peer(), friendly.url("ldaps"));
    server.url = stranger.url("ldaps") + " " + stranger.url("ldaps");
    EXPECT_EQ(kind_of(server), ErrorKind::tls);
}

TEST(FailOver, NotFromOneWhoRefusesThePassword) {
    const int visitors = good_door().visitors();
    // 389 Directory Server refuses locked accounts with the second.
    for (const char code : {LDAP_INVALID_CREDENTIALS, LDAP_CONSTRAINT_VIOLATION}) {
        const Door refusing(code);
        EXPECT_EQ(kind_of(server_with(refusing.url() + " " + good_door().url())),
                  ErrorKind::credentials)
            << int{code};
    }
    EXPECT_EQ(good_door().visitors(), visitors);
}

TEST(FailOver, FromOneWhoIsBusy) {
    // 389 Directory Server is unwilling, or knows of no such account, while its data are loaded.
    for (const char code :
         {LDAP_BUSY, LDAP_UNAVAILABLE, LDAP_UNWILLING_TO_PERFORM, LDAP_NO_SUCH_OBJECT}) {
        const Door busy(code);
        gets_to_the_second(busy.url());
        EXPECT_EQ(kind_of(server_with(busy.url())), ErrorKind::connect);
    }
    const Door broken(LDAP_OTHER);
    EXPECT_EQ(kind_of(server_with(broken.url() + " " + good_door().url())), ErrorKind::incomplete);
}

TEST(FailOver, OneOfManyHasTimeEnough) {
    const auto share = [](int time, int candidates) {
        return std::chrono::duration_cast<milliseconds>(share_of(milliseconds(time), candidates))
            .count();
    };
    EXPECT_EQ(share(30'000, 20), 5'000);
    EXPECT_EQ(share(30'000, 3), 10'000);
    EXPECT_EQ(share(6'000, 5), 3'000);
    EXPECT_EQ(share(1'000, 2), 500);
    EXPECT_EQ(share(1'000, 1), 1'000);
    EXPECT_EQ(share(-1, 2), 0);
    const auto begin = Clock::now();
    int attempts = 0;
    const auto attempt = [&](int, Clock::time_point deadline) {
        EXPECT_GE(deadline - begin, std::chrono::seconds(5));
        if (++attempts < 20) {
            throw Error(ErrorKind::connect, "not there");
        }
    };
    try_in_turn(std::vector<int>(20), begin + std::chrono::seconds(30), attempt);
    EXPECT_EQ(attempts, 20);
}

TEST(FailOver, TheFirstFailureIsTold) {
    const test::FullQueue full = test::swallowing_server();
    const std::string swallowing = "ldap://127.0.0.1:" + std::to_string(full.port());
    EXPECT_EQ(kind_of(server_with("ldap://127.0.0.1:1 " + swallowing)), ErrorKind::connect);
    EXPECT_EQ(kind_of(server_with(swallowing + " ldap://127.0.0.1:1")), ErrorKind::timeout);
}

TEST(FailOver, OfAddressesTheOneWhereSomebodyAnswersIsTold) {
    const auto told = [](const std::vector<ErrorKind>& errors, Told which) {
        try {
            try_in_turn(
                errors, Clock::now() + std::chrono::seconds(1),
                [](ErrorKind kind, Clock::time_point) { throw Error(kind, "of a test"); }, which);
        } catch (const Error& error) {
            return error.kind();
        }
        return ErrorKind::stopped;
    };
    using enum ErrorKind;
    EXPECT_EQ(told({connect, tls, lost, connect}, Told::answered), tls);
    EXPECT_EQ(told({tls, connect}, Told::answered), tls);
    EXPECT_EQ(told({connect, connect}, Told::answered), connect);
    EXPECT_EQ(told({connect, tls}, Told::first), connect);
}

}  // namespace
}  // namespace crmsync::directory
