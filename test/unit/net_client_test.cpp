// The client against servers that behave.
#include <gtest/gtest.h>

#include <dirent.h>

#include <atomic>
#include <ctime>
#include <iterator>
#include <set>
#include <stdexcept>

#include "net_client_fixture.h"
#include "net_names.h"
#include "net_server.h"

namespace crmsync::test {

namespace {

using namespace std::chrono_literals;
using net::Auth;
using net::TransportErrorKind;

template <typename Something>
auto time_of(const Something& something) {
    const auto started = std::chrono::steady_clock::now();
    something();
    return std::chrono::steady_clock::now() - started;
}

int open_descriptors() {
    int count = 0;
    DIR* directory = opendir("/proc/self/fd");
    while (readdir(directory))
        ++count;
    closedir(directory);
    return count;
}

TEST_F(ClientTest, PostsABodyAndReturnsTheAnswer) {
    Server server(answering([](const ReceivedRequest& request) {
        return http_answer(200,
                           request.line + "|" + request.header("content-type") + "|" +
                               request.header("expect") + "|" + request.body,
                           "Content-Type: text/xml; charset=utf-8\r\n");
    }));
    const net::Response response = send(endpoint(server.url()), request("<a>\xc3\xa4</a>"));
    ASSERT_FALSE(response.error) << response.error->message;
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "POST / HTTP/1.1|text/xml||<a>\xc3\xa4</a>");
    EXPECT_EQ(response.content_type, "text/xml; charset=utf-8");
    EXPECT_TRUE(response.request_was_sent);
    EXPECT_FALSE(response.connection_was_reused);
    EXPECT_FALSE(response.retry_after);
    EXPECT_GT(response.duration.count(), 0);
    EXPECT_EQ(client.in_flight(), 0u);
    EXPECT_GE(time_of([&] { client.wait(20ms); }), 20ms) << "nothing is left to do";
}

TEST_F(ClientTest, KeepsItsConnection) {
    Server server(answering([](const ReceivedRequest& r) { return http_answer(200, r.body); }));
    auto to = endpoint(server.url());
    EXPECT_FALSE(send(to).connection_was_reused);
    for (int i = 0; i < 20; ++i) {
        const net::Response response = send(to, request(std::to_string(i)));
        EXPECT_EQ(response.body, std::to_string(i));
        EXPECT_TRUE(response.connection_was_reused);
        EXPECT_TRUE(response.connection_worked_before);
    }
    EXPECT_EQ(server.connections(), 1);
}

TEST_F(ClientTest, SendsALargeBodyWithoutWaitingForAGoAhead) {
    Server server(answering(
        [](const ReceivedRequest& r) { return http_answer(200, std::to_string(r.body.size())); }));
    const net::Response response =
        send(endpoint(server.url()), request(std::string(5'000'000, 'x')));
    EXPECT_EQ(response.body, "5000000");
    EXPECT_LT(response.duration, 900ms);
}

TEST_F(ClientTest, HoldsToTheLimitOfConnectionsAndTheOrderOfRequests) {
    std::mutex mutex;
    std::vector<int> order;
    Server server(answering([&](const ReceivedRequest& r) {
        {
            std::lock_guard lock(mutex);
            order.push_back(std::stoi(r.body));
        }
        std::this_thread::sleep_for(2ms);
        return http_answer(200, "");
    }));
    auto to = endpoint(server.url());
    to->max_connections = 3;
    net::Ticket last = 0;
    for (int i = 0; i < 60; ++i)
        last = client.submit(to, request(std::to_string(i)));
    EXPECT_EQ(client.in_flight(), 60u);
    while (client.in_flight() > 0)
        turn();
    EXPECT_EQ(done.size(), 60u);
    EXPECT_EQ(last, 60u);
    EXPECT_LE(server.most_open_at_once(), 3);
    EXPECT_EQ(server.connections(), 3);
    // When one begins only those on the other two connections may still be on their way.
    std::set<int> begun;
    for (const int number : order) {
        const auto before = std::distance(begun.begin(), begun.lower_bound(number));
        EXPECT_GE(before, number - 2);
        begun.insert(number);
    }
}

TEST_F(ClientTest, CredentialsThatAreRefusedAreTriedByOneRequestAtATime) {
    constexpr int refused = 10;
    std::atomic<int> count{0};
    std::atomic<int> under_way{0};
    std::atomic<int> most_refused{0};
    std::atomic<int> most{0};
    Server server(answering([&](const ReceivedRequest&) {
        const bool refuses = ++count <= refused;
        std::atomic<int>& at_once = refuses ? most_refused : most;
        at_once = std::max(at_once.load(), ++under_way);
        std::this_thread::sleep_for(20ms);
        --under_way;
        return http_answer(refuses ? 401 : 200, "");
    }));
    auto to = endpoint(server.url());
    for (int i = 0; i < 40; ++i)
        client.submit(to, request());
    while (client.in_flight() > 0)
        turn();
    EXPECT_EQ(count, 40);
    EXPECT_EQ(most_refused, 1);
    EXPECT_EQ(most, to->max_connections) << "when one was accepted";
}

TEST_F(ClientTest, OneThatHangsKeepsTheOthersBrieflyFromTryingTheCredentials) {
    Server server([](Connection& connection) {
        while (auto received = connection.read()) {
            if (received->body == "hang")
                connection.wait_for_close();
            connection.write(http_answer(200, ""));
        }
    });
    auto to = endpoint(server.url());
    const net::Ticket hangs = client.submit(to, request("hang"));
    const auto started = std::chrono::steady_clock::now();
    std::vector<net::Ticket> others;
    for (int i = 0; i < 20; ++i)
        others.push_back(client.submit(to, request()));
    for (const net::Ticket other : others)
        EXPECT_EQ(wait_for(other).status, 200);
    const auto took = std::chrono::steady_clock::now() - started;
    EXPECT_GE(took, 1'500ms);
    EXPECT_LT(took, 4s);
    expect_error(wait_for(hangs), TransportErrorKind::timeout);
}

TEST_F(ClientTest, A401IsAnAnswerAndSoIsWhatTheConnectionDidBefore) {
    std::atomic<int> count{0};
    Server server(answering([&](const ReceivedRequest& r) {
        return http_answer(++count == 3 ? 200 : 401, r.header("authorization"),
                           "WWW-Authenticate: Basic realm=\"x\"\r\n");
    }));
    auto to = endpoint(server.url());
    to->auth = Auth::basic;
    to->username = "EXAMPLE\\sync";
    to->secret = "p:w";
    const net::Response first = send(to);
    EXPECT_EQ(first.status, 401);
    EXPECT_FALSE(first.connection_worked_before);
    const net::Response second = send(to);
    EXPECT_TRUE(second.connection_was_reused);
    EXPECT_FALSE(second.connection_worked_before) << "it has only answered by 401";
    EXPECT_EQ(send(to).body, "Basic RVhBTVBMRVxzeW5jOnA6dw==");
    const net::Response fourth = send(to);
    EXPECT_EQ(fourth.status, 401);
    EXPECT_TRUE(fourth.connection_worked_before);
    EXPECT_EQ(count, 4) << "nothing is tried twice";
}

TEST_F(ClientTest, DoesNotFollowARedirect) {
    std::atomic<int> count{0};
    Server server(answering([&](const ReceivedRequest&) {
        ++count;
        return http_answer(302, "", "Location: /owa/auth.owa?x=1\r\n");
    }));
    const auto to = endpoint(server.url());
    to->auth = Auth::basic;
    to->username = "sync";
    to->secret = "s3cret";
    const net::Response response = send(to);
    EXPECT_EQ(response.status, 302);
    EXPECT_EQ(response.location, "/owa/auth.owa?x=1") << "as it came: a whole URL has the secret";
    EXPECT_EQ(count, 1);
}

TEST_F(ClientTest, ReadsRetryAfter) {
    Server server(answering([](const ReceivedRequest& r) {
        return http_answer(503, "", "Retry-After: " + r.body + "\r\n");
    }));
    auto to = endpoint(server.url());
    EXPECT_EQ(send(to, request("120")).retry_after, 120s);
    EXPECT_EQ(send(to, request("0")).retry_after, 0s);
    EXPECT_EQ(send(to, request("1.5")).retry_after, 1500ms);
    EXPECT_EQ(send(to, request("Sun, 06 Nov 1994 08:49:37 GMT")).retry_after, 0s);
    EXPECT_EQ(send(to, request("soon")).retry_after, std::nullopt);
}

TEST_F(ClientTest, ReadsADateByTheClockOfWhoWroteIt) {
    Server server(answering([](const ReceivedRequest& r) { return http_answer(503, "", r.body); }));
    auto to = endpoint(server.url());
    const std::string until = "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
    EXPECT_EQ(send(to, request("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" + until)).retry_after,
              60s);
    EXPECT_EQ(send(to, request("Date: yesterday\r\n" + until)).retry_after, 0s);
}

TEST_F(ClientTest, TellsHowFarTheServersClockIsAhead) {
    Server server(answering([](const ReceivedRequest& r) { return http_answer(200, "", r.body); }));
    auto to = endpoint(server.url());
    EXPECT_EQ(send(to, request("X: y\r\n")).clock_ahead, std::nullopt);
    EXPECT_EQ(send(to, request("Date: yesterday\r\n")).clock_ahead, std::nullopt);
    for (const auto& ahead : {-3600s, 3600s}) {
        const std::time_t date = std::time(nullptr) + ahead.count();
        char text[64];
        std::strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", std::gmtime(&date));
        const auto told = send(to, request(text)).clock_ahead;
        ASSERT_TRUE(told);
        EXPECT_LE(abs(*told - ahead), 5s);
    }
}

TEST_F(ClientTest, KeepsCookiesWithinASessionOnly) {
    Server server(answering([](const ReceivedRequest& r) {
        return http_answer(200, r.header("cookie"),
                           "Set-Cookie: X-BackEndCookie=" + r.body + "; path=/\r\n");
    }));
    auto to = endpoint(server.url());
    auto as = [&](const std::string& session) {
        net::Request what = request(session);
        what.session = session;
        return send(to, what).body;
    };
    EXPECT_EQ(as("ann"), "");
    EXPECT_EQ(as("ann"), "X-BackEndCookie=ann");
    EXPECT_EQ(as("bob"), "");
    EXPECT_EQ(as("bob"), "X-BackEndCookie=bob");
}

TEST_F(ClientTest, RefusesHeadersThatWouldAddHeaders) {
    Server server(answering([](const ReceivedRequest& r) {
        return http_answer(
            200, r.header("x-anchormailbox") + "|" + std::to_string(r.headers.count("x-empty")));
    }));
    auto to = endpoint(server.url());
    for (const char* line : {"X-A: b\r\nX-C: d", "X-A: b\nX-C: d", "X-A: b\r", "X-A: \x01",
                             "no colon", ": nothing", "X A: b", "X-\xc3\xa4: b"}) {
        net::Request bad = request();
        bad.headers.push_back(line);
        EXPECT_THROW(client.submit(to, bad), std::invalid_argument) << line;
    }
    net::Request with_zero = request();
    with_zero.headers.push_back(std::string("X-A: b\0c", 8));
    EXPECT_THROW(client.submit(to, with_zero), std::invalid_argument);
    EXPECT_EQ(client.in_flight(), 0u);
    net::Request good = request();
    good.headers.push_back("X-AnchorMailbox: j\xc3\xb6rg@example.com");
    good.headers.push_back("X-Empty: ");
    EXPECT_EQ(send(to, good).body, "j\xc3\xb6rg@example.com|1");
}

TEST_F(ClientTest, IgnoresTheEnvironmentsProxyAndUsesItsOwn) {
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    setenv("all_proxy", "http://127.0.0.1:1/", 1);
    Server server(answering([](const ReceivedRequest& r) { return http_answer(200, r.line); }));
    EXPECT_EQ(send(endpoint(server.url())).body, "POST / HTTP/1.1");
    auto through = endpoint("http://127.0.0.1:9/EWS/Exchange.asmx");
    through->proxy = "http://127.0.0.1:" + std::to_string(server.port());
    setenv("no_proxy", "*", 1);
    EXPECT_EQ(send(through).body, "POST http://127.0.0.1:9/EWS/Exchange.asmx HTTP/1.1");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("no_proxy");
}

TEST_F(ClientTest, CancelsWhatIsWaitingAndWhatIsUnderWay) {
    Server silent([](Connection& connection) {
        connection.read();
        connection.wait_for_close();
    });
    Server other(answering([](const ReceivedRequest&) { return http_answer(200, "ok"); }));
    auto to = endpoint(silent.url());
    to->max_connections = 2;
    auto elsewhere = endpoint(other.url());
    std::vector<net::Ticket> tickets;
    for (int i = 0; i < 5; ++i)
        tickets.push_back(client.submit(to, request()));
    send(elsewhere);
    while (silent.connections() < 2)
        turn(5ms);
    turn(50ms);
    client.cancel(to.get());
    EXPECT_LT(time_of([&] { client.wait(10s); }), 5s) << "there is something to do";
    int sent = 0;
    for (net::Ticket ticket : tickets) {
        const net::Response response = wait_for(ticket);
        expect_error(response, TransportErrorKind::cancelled);
        sent += response.request_was_sent;
    }
    EXPECT_EQ(sent, 2);
    EXPECT_EQ(client.in_flight(), 0u);
    EXPECT_EQ(send(elsewhere).body, "ok");
}

TEST_F(ClientTest, ASilentServerDoesNotDelayAnother) {
    Server silent([](Connection& connection) {
        connection.read();
        connection.wait_for_close();
    });
    Server good(answering([](const ReceivedRequest& r) { return http_answer(200, r.body); }));
    auto dead = endpoint(silent.url());
    auto alive = endpoint(good.url());
    for (int i = 0; i < 1'000; ++i)
        client.submit(dead, request());
    std::vector<net::Ticket> tickets;
    for (int i = 0; i < 3'000; ++i)
        tickets.push_back(client.submit(alive, request(std::to_string(i))));
    const auto start = std::chrono::steady_clock::now();
    while (done.size() < 3'000 && std::chrono::steady_clock::now() - start < 10s)
        turn();
    ASSERT_EQ(done.size(), 3'000u);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 4s) << "less than the dead one's timeout";
    for (int i = 0; i < 3'000; ++i)
        EXPECT_EQ(done[tickets[static_cast<std::size_t>(i)]].body, std::to_string(i));
    EXPECT_LE(good.connections(), 8);
    EXPECT_EQ(client.in_flight(), 1'000u);
    client.cancel(dead.get());
    turn();
    EXPECT_EQ(client.in_flight(), 0u);
}

TEST_F(ClientTest, DropsTheConnectionsOfAnEndpointThatIsGone) {
    Server server(answering([](const ReceivedRequest&) { return http_answer(200, "ok"); }));
    send(endpoint(server.url()));
    turn();
    const int before = open_descriptors();
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(send(endpoint(server.url())).status, 200);
    turn(1ms);
    // The server's side closes a moment later.
    const auto end = std::chrono::steady_clock::now() + 2s;
    while (open_descriptors() > before && std::chrono::steady_clock::now() < end)
        turn(5ms);
    EXPECT_LE(open_descriptors(), before);
    EXPECT_EQ(server.connections(), 21) << "another object is another endpoint";
}

TEST(ClientLife, IsWokenByAnotherThread) {
    net::Client client;
    client.wake();
    EXPECT_LT(time_of([&] { client.wait(10s); }), 5s) << "woken before it waits";
    EXPECT_GE(time_of([&] { client.wait(20ms); }), 20ms) << "once only";
    std::thread other([&] {
        std::this_thread::sleep_for(20ms);
        client.wake();
    });
    EXPECT_LT(time_of([&] { client.wait(10s); }), 5s);
    other.join();
    EXPECT_TRUE(client.advance().empty());
}

TEST(ClientLife, LeavesNothingBehind) {
    Server silent([](Connection& connection) {
        connection.read();
        connection.wait_for_close();
    });
    { net::Client warm_up; }
    const int before = open_descriptors();
    {
        net::Client client;
        auto to = std::make_shared<net::Endpoint>();
        to->url = silent.url();
        for (int i = 0; i < 10; ++i)
            client.submit(to, net::Request{});
        for (int i = 0; i < 10; ++i) {
            client.wait(10ms);
            client.advance();
        }
    }
    const auto end = std::chrono::steady_clock::now() + 2s;
    while (open_descriptors() > before && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(5ms);
    EXPECT_EQ(open_descriptors(), before);
}

}  // namespace

}  // namespace crmsync::test
