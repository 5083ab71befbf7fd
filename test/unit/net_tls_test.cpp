// The client and certificates: nothing is sent to a server that is not the one it says it is.
#include <gtest/gtest.h>

#include <atomic>

#include "net_certificates.h"
#include "net_client_fixture.h"
#include "net_server.h"

namespace crmsync::test {

namespace {

using net::TransportErrorKind;

class TlsTest : public ClientTest {
  protected:
    static void SetUpTestSuite() { certificates = new Certificates; }
    static void TearDownTestSuite() { delete certificates; }

    static std::shared_ptr<net::Endpoint> trusting(const std::string& url) {
        auto to = endpoint(url);
        to->ca_file = certificates->ca_file();
        return to;
    }

    static Server::Script ok() {
        return answering([](const ReceivedRequest& r) { return http_answer(200, r.body); });
    }

    void expect_refused(const CertificateWish& wish, const std::string& words) {
        std::atomic<int> read{0};
        Server server(answering([&](const ReceivedRequest&) {
                          ++read;
                          return http_answer(200, "");
                      }),
                      certificates->make(wish));
        const net::Response response = send(trusting(server.url("localhost")));
        expect_error(response, TransportErrorKind::tls, words);
        EXPECT_FALSE(response.request_was_sent);
        EXPECT_EQ(read, 0);
        auto careless = trusting(server.url("localhost"));
        careless->tls_verify = false;
        EXPECT_EQ(send(careless).status, 200);
    }

    static Certificates* certificates;
};

Certificates* TlsTest::certificates = nullptr;

TEST_F(TlsTest, AGoodCertificateWithTheCaFile) {
    Server server(ok(), certificates->make());
    auto to = trusting(server.url("localhost"));
    EXPECT_EQ(send(to, request("secret")).body, "secret");
    EXPECT_TRUE(send(to).connection_was_reused);
    EXPECT_EQ(send(trusting(server.url("127.0.0.1"))).status, 200);
}

TEST_F(TlsTest, WithoutTheCaFileTheAuthorityIsUnknown) {
    Server server(ok(), certificates->make());
    expect_error(send(endpoint(server.url("localhost"))), TransportErrorKind::tls,
                 "failed while negotiating TLS");
}

TEST_F(TlsTest, AnUnknownAuthority) {
    expect_refused({.known_issuer = false}, "certificate");
}

TEST_F(TlsTest, AnotherHostsName) {
    expect_refused({.names = "DNS:other.example.com"}, "localhost");
}

TEST_F(TlsTest, AnExpiredCertificate) {
    expect_refused({.valid_days = -1}, "expired");
}

TEST_F(TlsTest, AServerWithoutTls) {
    Server server([](Connection& connection) {
        connection.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        connection.wait_for_close();
    });
    expect_error(send(trusting("https://127.0.0.1:" + std::to_string(server.port()) + "/")),
                 TransportErrorKind::tls, "negotiating TLS");
}

TEST_F(TlsTest, AServerThatClosesInTheMiddleOfTheHandshakePasses) {
    Server server([](Connection& connection) {
        connection.wait_for_bytes();
        connection.reset();
    });
    const net::Response response =
        send(trusting("https://127.0.0.1:" + std::to_string(server.port()) + "/"));
    expect_error(response, TransportErrorKind::connect, "negotiating TLS");
    EXPECT_FALSE(response.request_was_sent);
}

TEST_F(TlsTest, AHandshakeThatHangsIsAFailedConnection) {
    Server server([](Connection& connection) { connection.wait_for_close(); });
    auto to = trusting("https://127.0.0.1:" + std::to_string(server.port()) + "/");
    to->connect_timeout = std::chrono::milliseconds(200);
    const net::Response response = send(to);
    expect_error(response, TransportErrorKind::connect, "while negotiating TLS");
    EXPECT_FALSE(response.request_was_sent);
}

TEST_F(TlsTest, AMissingCaFile) {
    Server server(ok(), certificates->make());
    auto to = trusting(server.url("localhost"));
    to->ca_file = certificates->file("missing.pem");
    expect_error(send(to), TransportErrorKind::configuration, "missing.pem");
}

TEST_F(TlsTest, AClientCertificate) {
    Server server(ok(), certificates->make({.client_ca = certificates->ca_file()}));
    auto to = trusting(server.url("localhost"));
    const TlsFiles own = certificates->make();
    to->cert_file = own.certificate;
    to->key_file = own.key;
    EXPECT_EQ(send(to, request("mutual")).body, "mutual");
    EXPECT_TRUE(send(trusting(server.url("localhost"))).error);
    to = trusting(server.url("localhost"));
    to->cert_file = certificates->file("missing.pem");
    expect_error(send(to), TransportErrorKind::configuration);
}

}  // namespace

}  // namespace crmsync::test
