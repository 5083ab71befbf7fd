// What is said where no TLS connection comes about: a certificate, or a port that speaks something
// else.
#include <gtest/gtest.h>

#include "directory/connection.h"
#include "directory_support.h"
#include "net_certificates.h"

namespace crmsync::directory {
namespace {

using test::first_answer;
using test::never;

constexpr const char* of_certificates = "issued for this host name";

// The message and hint of the attempt to log on there.
std::string trouble_at(const test::Server& there, const std::string& host, Server server = {}) {
    server.url = "ldaps://" + host + ":" + std::to_string(there.port());
    server.auth = Auth::none;
    server.timeout = std::chrono::seconds(5);
    try {
        const Connection connection(server, never);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::tls) << error.what();
        return std::string(error.what()) + " (" + error.hint() + ")";
    }
    return "connected";
}

TEST(Tls, ACertificateThatIsNotAcceptedIsTold) {
    test::Certificates certificates;
    const test::Server stranger([](test::Connection& connection) { connection.wait_for_close(); },
                                certificates.make({.known_issuer = false}));
    Server server;
    server.ca_file = certificates.ca_file();
    const std::string trouble = trouble_at(stranger, "127.0.0.1", server);
    EXPECT_EQ(trouble.find("unknown error"), std::string::npos) << trouble;
    EXPECT_NE(trouble.find(of_certificates), std::string::npos) << trouble;
    EXPECT_EQ(trouble.find("localhost"), std::string::npos) << trouble;
    EXPECT_NE(trouble_at(stranger, "localhost", server).find("the name of the machine"),
              std::string::npos);
}

TEST(Tls, APortWithoutItIsNoMatterOfCertificates) {
    const test::Server plain([](test::Connection& connection) {
        connection.read_some();
        connection.write(first_answer(test::extended_answer, LDAP_PROTOCOL_ERROR));
    });
    const std::string trouble = trouble_at(plain, "127.0.0.1");
    EXPECT_EQ(trouble.find(of_certificates), std::string::npos) << trouble;
    EXPECT_NE(trouble.find("at this port"), std::string::npos) << trouble;
}

}  // namespace
}  // namespace crmsync::directory
