#include "net/probe.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "net_certificates.h"
#include "net_names.h"
#include "net_server.h"

namespace crmsync::test {

namespace {

using namespace std::chrono_literals;

bool never() {
    return false;
}

net::Endpoint endpoint(const std::string& url) {
    net::Endpoint endpoint;
    endpoint.url = url;
    endpoint.auth = net::Auth::basic;
    endpoint.username = "sync";
    endpoint.secret = "hidden";
    endpoint.connect_timeout = 1s;
    return endpoint;
}

std::string names(const std::vector<net::ProbeStep>& steps) {
    std::string text;
    for (const net::ProbeStep& step : steps)
        text += step.step + (step.ok ? "+ " : "- ");
    return text;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

Server::Script challenge() {
    return answering([](const ReceivedRequest& r) {
        return http_answer(
            r.header("authorization").empty() ? 401 : 500, "<html>",
            "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Basic realm=\"x\"\r\n");
    });
}

TEST(Probe, PlainHttp) {
    Server server(challenge());
    const auto steps = net::probe(endpoint(server.url()), never);
    EXPECT_EQ(names(steps), "dns+ tcp+ http+ ");
    EXPECT_TRUE(contains(steps[0].detail, "127.0.0.1")) << steps[0].detail;
    EXPECT_EQ(steps[2].detail, "HTTP status 401, offers Negotiate, Basic");
    for (const auto& step : steps)
        EXPECT_GE(step.duration.count(), 0) << step.step;
}

TEST(Probe, Tls) {
    Certificates certificates;
    Server server(challenge(), certificates.make({.valid_days = 100}));
    net::Endpoint to = endpoint(server.url("localhost"));
    to.ca_file = certificates.ca_file();
    const auto steps = net::probe(to, never);
    EXPECT_EQ(names(steps), "dns+ tcp+ tls+ http+ ");
    EXPECT_TRUE(contains(steps[2].detail, "verified: subject CN")) << steps[2].detail;
    EXPECT_TRUE(contains(steps[2].detail, "crmsync test authority")) << steps[2].detail;
    EXPECT_TRUE(contains(steps[2].detail, "DNS:localhost")) << steps[2].detail;
    EXPECT_EQ(steps[2].hint, "");
    EXPECT_GT(steps[2].duration.count(), 0);
}

TEST(Probe, ACertificateNearItsEnd) {
    Certificates certificates;
    Server server(challenge(), certificates.make());
    net::Endpoint to = endpoint(server.url("localhost"));
    to.ca_file = certificates.ca_file();
    const auto steps = net::probe(to, never);
    EXPECT_EQ(names(steps), "dns+ tcp+ tls+ http+ ");
    EXPECT_TRUE(contains(steps[2].hint, "expires soon"));
}

TEST(Probe, ARefusedCertificateIsShown) {
    Certificates certificates;
    Server server(challenge(), certificates.make({.names = "DNS:mail.example.com"}));
    net::Endpoint to = endpoint(server.url("localhost"));
    to.ca_file = certificates.ca_file();
    const auto steps = net::probe(to, never);
    EXPECT_EQ(names(steps), "dns+ tcp+ tls- ");
    EXPECT_TRUE(contains(steps[2].detail, "DNS:mail.example.com")) << steps[2].detail;
    EXPECT_TRUE(contains(steps[2].hint, "ca_file")) << steps[2].hint;
}

TEST(Probe, AnExpiredCertificate) {
    Certificates certificates;
    Server server(challenge(), certificates.make({.valid_days = -1}));
    net::Endpoint to = endpoint(server.url("localhost"));
    to.ca_file = certificates.ca_file();
    const auto steps = net::probe(to, never);
    EXPECT_EQ(names(steps), "dns+ tcp+ tls- ");
    EXPECT_TRUE(contains(steps[2].hint, "expired")) << steps[2].hint;
}

TEST(Probe, EachStepCanFail) {
    EXPECT_EQ(names(net::probe(endpoint("http://mail.example.com/"), never)), "url- ");
    const auto unknown = net::probe(endpoint("https://missing.test/"), never);
    EXPECT_EQ(names(unknown), "dns- ");
    EXPECT_TRUE(contains(unknown[0].hint, "host name"));
    EXPECT_EQ(names(net::probe(endpoint("http://127.0.0.1:1/"), never)), "dns+ tcp- ");
    Server closing([](Connection& connection) { connection.read(); });
    EXPECT_EQ(names(net::probe(endpoint(closing.url()), never)), "dns+ tcp+ http- ");
    Server missing(answering([](const ReceivedRequest&) { return http_answer(404, ""); }));
    const auto steps = net::probe(endpoint(missing.url()), never);
    EXPECT_EQ(names(steps), "dns+ tcp+ http- ");
    EXPECT_TRUE(contains(steps[2].hint, "/EWS/Exchange.asmx"));
}

TEST(Probe, IsBoundedInTime) {
    Server silent([](Connection& connection) { connection.wait_for_close(); });
    const auto start = std::chrono::steady_clock::now();
    const auto steps = net::probe(endpoint(silent.url()), never);
    EXPECT_EQ(names(steps), "dns+ tcp+ http- ");
    EXPECT_TRUE(contains(steps[2].detail, "timed out")) << steps[2].detail;
    EXPECT_LT(std::chrono::steady_clock::now() - start, 3s);
}

TEST(Probe, StopsWhenAsked) {
    Server silent([](Connection& connection) { connection.wait_for_close(); });
    for (const std::string& url : {silent.url(), std::string("https://slow.test/")}) {
        net::Endpoint to = endpoint(url);
        to.connect_timeout = 30s;
        const auto start = std::chrono::steady_clock::now();
        auto last = start;
        auto longest = std::chrono::steady_clock::duration::zero();
        const auto steps = net::probe(to, [&] {
            const auto now = std::chrono::steady_clock::now();
            longest = std::max(longest, now - last);
            last = now;
            return now - start > 300ms;
        });
        EXPECT_FALSE(steps.back().ok);
        EXPECT_EQ(steps.back().detail, "given up");
        EXPECT_LT(std::chrono::steady_clock::now() - start, 600ms);
        EXPECT_LT(longest, 100ms);
        EXPECT_THROW(net::probe(to, []() -> bool { throw std::runtime_error("stop"); }),
                     std::runtime_error);
    }
    EXPECT_EQ(lookups_open_to_signals(), 0);
}

}  // namespace

}  // namespace crmsync::test
