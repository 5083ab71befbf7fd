// The client against servers that are broken, slow or hostile: each ends in an error for that
// request.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "net_client_fixture.h"
#include "net_names.h"
#include "net_server.h"

namespace crmsync::test {

namespace {

using namespace std::chrono_literals;
using net::Auth;
using net::TransportErrorKind;

int unused_port() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(listener, reinterpret_cast<sockaddr*>(&address), size);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    close(listener);
    return ntohs(address.sin_port);
}

std::string output_of(const char* command) {
    std::string output;
    FILE* pipe = popen(command, "r");
    char bytes[65536];
    for (std::size_t count; (count = fread(bytes, 1, sizeof bytes, pipe)) > 0;)
        output.append(bytes, count);
    pclose(pipe);
    return output;
}

class FaultTest : public ClientTest {};

TEST_F(FaultTest, HalfABody) {
    Server server([](Connection& connection) {
        connection.read();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
    });
    const net::Response response = send(endpoint(server.url()));
    expect_error(response, TransportErrorKind::broken, "receiving the answer");
    EXPECT_TRUE(response.request_was_sent);
}

TEST_F(FaultTest, NoAnswerAtAll) {
    Server server([](Connection& connection) { connection.read(); });
    const net::Response response = send(endpoint(server.url()));
    expect_error(response, TransportErrorKind::broken, "waiting for the answer");
    EXPECT_TRUE(response.request_was_sent);
}

TEST_F(FaultTest, ResetAfterTheRequestWasRead) {
    Server server([](Connection& connection) {
        connection.read();
        connection.reset();
    });
    const net::Response response = send(endpoint(server.url()));
    expect_error(response, TransportErrorKind::broken);
    EXPECT_TRUE(response.request_was_sent);
}

TEST_F(FaultTest, ResetBeforeTheRequestWasRead) {
    Server server([](Connection& connection) {
        connection.wait_for_bytes();
        connection.reset();
    });
    const net::Response response =
        send(endpoint(server.url()), request(std::string(3'000'000, 'x')));
    expect_error(response, TransportErrorKind::broken);
    EXPECT_TRUE(response.request_was_sent) << "nobody can know";
}

// libcurl by itself would send the request again on a fresh connection: a contact created twice.
TEST_F(FaultTest, AKeptConnectionThatDiesDoesNotRepeatTheRequest) {
    std::atomic<int> carried_out{0};
    Server server([&](Connection& connection) {
        connection.read();
        connection.write(http_answer(200, "first"));
        if (connection.number() > 1 || !connection.read())
            return;
        ++carried_out;
    });
    auto to = endpoint(server.url());
    EXPECT_EQ(send(to).body, "first");
    const net::Response response = send(to, request("create a contact"));
    expect_error(response, TransportErrorKind::broken, "without an answer");
    EXPECT_TRUE(response.request_was_sent);
    EXPECT_EQ(carried_out, 1);
    EXPECT_EQ(send(to).body, "first") << "the next one gets a fresh connection";
}

TEST_F(FaultTest, AKeptConnectionThatDiesRepeatsWhatMayBeRepeated) {
    Server server([&](Connection& connection) {
        auto request = connection.read();
        connection.write(http_answer(200, request->body));
        connection.read();
    });
    auto to = endpoint(server.url());
    EXPECT_EQ(send(to).body, "hello");
    net::Request find = request("find");
    find.repeatable = true;
    const net::Response response = send(to, find);
    EXPECT_EQ(response.body, "find");
    EXPECT_FALSE(response.connection_was_reused);
    EXPECT_FALSE(response.connection_worked_before);
    EXPECT_EQ(server.connections(), 2);
}

TEST_F(FaultTest, AnAnnouncedHugeBody) {
    Server server([](Connection& connection) {
        connection.read();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\nx");
        connection.wait_for_close();
    });
    expect_error(send(endpoint(server.url())), TransportErrorKind::too_large);
}

TEST_F(FaultTest, AnEndlessBody) {
    Server server([](Connection& connection) {
        connection.read();
        connection.write("HTTP/1.1 200 OK\r\n\r\n");
        const std::string block(65536, 'x');
        while (connection.write(block)) {
        }
    });
    net::Request what = request();
    what.answer_limit = 1'000'000;
    expect_error(send(endpoint(server.url()), what), TransportErrorKind::too_large,
                 "1000000 bytes");
}

TEST_F(FaultTest, TheLimitItselfIsAllowed) {
    Server server(answering(
        [](const ReceivedRequest&) { return http_answer(200, std::string(1'000, 'x')); }));
    net::Request what = request();
    what.answer_limit = 1'000;
    EXPECT_EQ(send(endpoint(server.url()), what).body.size(), 1'000u);
    what.answer_limit = 999;
    expect_error(send(endpoint(server.url()), what), TransportErrorKind::too_large);
}

TEST_F(FaultTest, EndlessHeaders) {
    Server server([](Connection& connection) {
        connection.read();
        connection.write("HTTP/1.1 200 OK\r\n");
        while (connection.write("X-Filler: " + std::string(1'000, 'x') + "\r\n")) {
        }
    });
    expect_error(send(endpoint(server.url())), TransportErrorKind::too_large);
}

TEST_F(FaultTest, UnpacksAPackedAnswer) {
    const std::string packed = output_of("printf '<Envelope/>' | gzip -c");
    Server server(answering([&](const ReceivedRequest& r) {
        return r.header("accept-encoding") == "gzip"
                   ? http_answer(200, packed, "Content-Encoding: gzip\r\n")
                   : http_answer(406, "");
    }));
    EXPECT_EQ(send(endpoint(server.url())).body, "<Envelope/>");
}

TEST_F(FaultTest, ABombOfPackedZeroes) {
    const std::string bomb = output_of("head -c 64M /dev/zero | gzip -c");
    ASSERT_GT(bomb.size(), 10'000u);
    ASSERT_LT(bomb.size(), 100'000u);
    Server server(answering([&](const ReceivedRequest&) {
        return http_answer(200, bomb, "Content-Encoding: gzip\r\n");
    }));
    net::Request what = request();
    what.answer_limit = 1 << 20;
    expect_error(send(endpoint(server.url()), what), TransportErrorKind::too_large);
}

TEST_F(FaultTest, ABrokenPacking) {
    Server server(answering([&](const ReceivedRequest&) {
        return http_answer(200, "this is not gzip", "Content-Encoding: gzip\r\n");
    }));
    expect_error(send(endpoint(server.url())), TransportErrorKind::broken);
}

TEST_F(FaultTest, NotHttp) {
    Server server([](Connection& connection) {
        connection.read();
        connection.write("SSH-2.0-OpenSSH_9.2p1\r\n");
    });
    expect_error(send(endpoint(server.url())), TransportErrorKind::broken);
}

TEST_F(FaultTest, ASlowDrip) {
    Server server([](Connection& connection) {
        connection.read();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while (connection.write("x"))
            std::this_thread::sleep_for(50ms);
    });
    auto to = endpoint(server.url());
    to->stall_timeout = 1s;
    to->timeout = 15s;
    const net::Response response = send(to);
    expect_error(response, TransportErrorKind::timeout, "too slowly");
    EXPECT_LT(response.duration, 8s);
}

TEST_F(FaultTest, AServerThatThinksForLongerThanTheStallTimeoutIsNotStalled) {
    Server server(answering([](const ReceivedRequest&) {
        std::this_thread::sleep_for(2500ms);
        return http_answer(200, "done");
    }));
    auto to = endpoint(server.url());
    to->stall_timeout = 1s;
    EXPECT_EQ(send(to).body, "done");
}

TEST_F(FaultTest, Silence) {
    Server server([](Connection& connection) {
        connection.read();
        connection.wait_for_close();
    });
    auto to = endpoint(server.url());
    to->timeout = 300ms;
    const net::Response response = send(to);
    expect_error(response, TransportErrorKind::timeout, "timed out after 0.3 s while waiting");
    EXPECT_TRUE(response.request_was_sent);
}

TEST_F(FaultTest, AServerThatDoesNotReadTheRequest) {
    Server server([](Connection& connection) { connection.wait_for_close(); });
    auto to = endpoint(server.url());
    to->timeout = 300ms;
    const net::Response response = send(to, request(std::string(30'000'000, 'x')));
    expect_error(response, TransportErrorKind::timeout, "while sending the request");
    EXPECT_TRUE(response.request_was_sent);
}

TEST_F(FaultTest, AClosedPort) {
    const net::Response response =
        send(endpoint("http://127.0.0.1:" + std::to_string(unused_port()) + "/"));
    expect_error(response, TransportErrorKind::connect, "failed while connecting");
    EXPECT_FALSE(response.request_was_sent);
}

TEST_F(FaultTest, AnUnknownHost) {
    const net::Response response = send(endpoint("https://missing.test/"));
    expect_error(response, TransportErrorKind::resolve, "missing.test");
    EXPECT_FALSE(response.request_was_sent);
    EXPECT_EQ(lookups_open_to_signals(), 0);
}

TEST_F(FaultTest, ASlowNameServerIsNotWaitedFor) {
    const auto start = std::chrono::steady_clock::now();
    auto to = endpoint("https://slow.test/");
    to->connect_timeout = 200ms;
    const net::Response response = send(to);
    expect_error(response, TransportErrorKind::resolve, "while resolving the host name");
    EXPECT_FALSE(response.request_was_sent);
    {
        // Patient, so that a busy machine does not end the request before its look-up begins.
        auto patient = endpoint("https://slow.test/");
        patient->connect_timeout = slow_lookup;
        const int begun = slow_lookups_begun();
        net::Client other;
        other.submit(patient, request());
        while (slow_lookups_begun() == begun &&
               std::chrono::steady_clock::now() - start < slow_lookup / 2) {
            other.advance();
            std::this_thread::sleep_for(1ms);
        }
        other.submit(patient, request());
        other.cancel(patient.get());
        EXPECT_EQ(other.advance().size(), 2u);
        other.submit(patient, request());
        other.advance();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, slow_lookup / 2);
    EXPECT_EQ(lookups_open_to_signals(), 0);
}

TEST_F(FaultTest, EndpointsThatCanNeverWork) {
    auto plain = endpoint("http://mail.example.com/EWS/Exchange.asmx");
    expect_error(send(plain), TransportErrorKind::configuration, "allow_plaintext");
    expect_error(send(endpoint("ldap://127.0.0.1/")), TransportErrorKind::configuration, "ldap");
    expect_error(send(endpoint("no url")), TransportErrorKind::configuration, "URL");
    auto with_password = endpoint("https://user:hidden@mail.example.com/");
    const net::Response response = send(with_password);
    expect_error(response, TransportErrorKind::configuration, "user name");
    EXPECT_EQ(response.error->message.find("hidden"), std::string::npos);
    EXPECT_FALSE(response.request_was_sent);
    auto incomplete = endpoint("https://outlook.example.com/");
    incomplete->auth = Auth::oauth2;
    expect_error(send(incomplete), TransportErrorKind::configuration, "token_url");
}

TEST_F(FaultTest, AllowPlaintextAllowsIt) {
    auto plain = endpoint("http://missing.test/");
    plain->allow_plaintext = true;
    expect_error(send(plain), TransportErrorKind::resolve);
}

class NtlmTest : public ClientTest {
  protected:
    static std::shared_ptr<net::Endpoint> using_ntlm(const Server& server) {
        auto to = endpoint(server.url());
        to->auth = Auth::ntlm;
        to->username = "EXAMPLE\\sync";
        to->secret = "password";
        return to;
    }
    static bool available() {
        return (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_NTLM) != 0;
    }
};

TEST_F(NtlmTest, AuthenticatesTheConnectionOnceOrIsRefusedWithTheReason) {
    // A challenge as [MS-NLMP] 2.2.1.2 lays it out, with an empty target.
    const std::string challenge =
        "TlRMTVNTUAACAAAAAAAAADAAAAABgggAASNFZ4mrze8AAAAAAAAAAAQABAAwAAAAAAAAAA==";
    std::mutex mutex;
    std::vector<std::string> seen;
    Server server([&](Connection& connection) {
        bool authenticated = false;
        while (auto r = connection.read()) {
            const std::string authorization = r->header("authorization");
            const bool first = authorization.starts_with("NTLM TlRMTVNTUAAB");
            authenticated |= authorization.starts_with("NTLM TlRMTVNTUAAD");
            {
                std::lock_guard lock(mutex);
                seen.push_back((first ? "1" : authorization.empty() ? "-" : "3") + r->body);
            }
            connection.write(
                authenticated ? http_answer(200, r->body)
                : first       ? http_answer(401, "", "WWW-Authenticate: NTLM " + challenge + "\r\n")
                              : http_answer(401, "", "WWW-Authenticate: NTLM\r\n"));
        }
    });
    auto to = using_ntlm(server);
    const net::Response response = send(to, request("a"));
    if (!available()) {
        expect_error(response, TransportErrorKind::configuration, "built without NTLM");
        return;
    }
    EXPECT_EQ(response.body, "a");
    EXPECT_EQ(send(to, request("b")).body, "b");
    EXPECT_EQ(seen, (std::vector<std::string>{"1", "3a", "-b"}));
    EXPECT_EQ(server.connections(), 1);
    EXPECT_EQ(send(using_ntlm(server), request("c")).body, "c");
    EXPECT_EQ(server.connections(), 2) << "another endpoint never uses an authenticated connection";
}

TEST_F(NtlmTest, AServerThatDoesNotGoOnWithTheHandshakeGetsNoBody) {
    if (!available())
        GTEST_SKIP();
    std::atomic<int> bodies{0};
    Server server(answering([&](const ReceivedRequest& r) {
        bodies += !r.body.empty();
        return http_answer(401, "", "WWW-Authenticate: NTLM\r\n");
    }));
    EXPECT_EQ(send(using_ntlm(server)).status, 401);
    EXPECT_EQ(bodies, 0);
}

}  // namespace

}  // namespace crmsync::test
