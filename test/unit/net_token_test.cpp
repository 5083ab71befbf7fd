// OAuth2 client credentials: the token is asked for once, kept, renewed, and never shown.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "net/access_token.h"
#include "net_client_fixture.h"
#include "net_server.h"

namespace crmsync::test {

namespace {

using namespace std::chrono_literals;
using net::TransportErrorKind;

const std::string secret = "s3cret+/&=~value";
const std::string escaped_secret = "s3cret%2B%2F%26%3D~value";

std::string grant(const std::string& token, const std::string& lifetime = "3600") {
    return http_answer(200,
                       R"({"token_type":"Bearer","expires_in":)" + lifetime +
                           R"(,"access_token":")" + token + "\"}",
                       "Content-Type: application/json\r\n");
}

class TokenTest : public ClientTest {
  protected:
    static std::shared_ptr<net::Endpoint> using_token(const Server& api,
                                                      const std::string& token_url) {
        auto to = endpoint(api.url());
        to->auth = net::Auth::oauth2;
        to->token_url = token_url;
        to->client_id = "client";
        to->secret = secret;
        to->scope = "https://outlook.office365.com/.default";
        return to;
    }

    // What requests end in when the token server gives this answer.
    net::Response refused_by(const std::string& token_answer) {
        std::atomic<int> count{0};
        Server api(answering([&](const ReceivedRequest&) {
            ++count;
            return http_answer(200, "");
        }));
        Server tokens(answering([&](const ReceivedRequest&) { return token_answer; }));
        const net::Response response = send(using_token(api, tokens.url() + "token"));
        EXPECT_EQ(count, 0);
        EXPECT_FALSE(response.request_was_sent);
        if (response.error) {
            EXPECT_EQ(response.error->message.find(secret), std::string::npos);
            EXPECT_EQ(response.error->message.find(escaped_secret), std::string::npos);
            EXPECT_LT(response.error->message.size(), 700u);
        }
        return response;
    }
};

TEST_F(TokenTest, IsAskedForOnceByManyRequests) {
    std::mutex mutex;
    std::vector<std::string> forms;
    Server tokens(answering([&](const ReceivedRequest& r) {
        std::this_thread::sleep_for(20ms);
        std::lock_guard lock(mutex);
        forms.push_back(r.header("content-type") + "|" + r.header("authorization") + "|" + r.body);
        return grant("abc.def-1");
    }));
    Server api(answering(
        [](const ReceivedRequest& r) { return http_answer(200, r.header("authorization")); }));
    auto to = using_token(api, tokens.url());
    std::vector<net::Ticket> tickets;
    for (int i = 0; i < 50; ++i)
        tickets.push_back(client.submit(to, request()));
    for (net::Ticket ticket : tickets)
        EXPECT_EQ(wait_for(ticket).body, "Bearer abc.def-1");
    EXPECT_EQ(send(to).body, "Bearer abc.def-1");
    ASSERT_EQ(forms.size(), 1u);
    EXPECT_EQ(forms[0],
              "application/x-www-form-urlencoded||grant_type=client_credentials&client_id=client&"
              "client_secret=" +
                  escaped_secret + "&scope=https%3A%2F%2Foutlook.office365.com%2F.default");
    EXPECT_LE(api.connections(), to->max_connections);
}

TEST_F(TokenTest, IsRenewedOnceUponA401) {
    std::atomic<int> tokens_given{0};
    std::atomic<bool> revoked{false};
    Server tokens(answering(
        [&](const ReceivedRequest&) { return grant("t" + std::to_string(++tokens_given)); }));
    Server api(answering([&](const ReceivedRequest& r) {
        const bool bad = revoked && r.header("authorization") == "Bearer t1";
        return http_answer(bad ? 401 : 200, r.header("authorization") + " " + r.body);
    }));
    auto to = using_token(api, tokens.url());
    EXPECT_EQ(send(to, request("a")).body, "Bearer t1 a");
    revoked = true;
    std::vector<net::Ticket> tickets;
    for (int i = 0; i < 20; ++i)
        tickets.push_back(client.submit(to, request(std::to_string(i))));
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(wait_for(tickets[static_cast<std::size_t>(i)]).body,
                  "Bearer t2 " + std::to_string(i));
    EXPECT_EQ(tokens_given, 2);
}

// No lifetime is taken to be shorter than 30 seconds, and a new token is due after 24.
TEST_F(TokenTest, AServerThatIsAwayStopsNobodyWhoseTokenServes) {
    std::atomic<int> asked{0};
    Server tokens(answering([&](const ReceivedRequest&) {
        return ++asked == 1 ? grant("t1", "30") : http_answer(503, "");
    }));
    Server api(answering(
        [](const ReceivedRequest& r) { return http_answer(200, r.header("authorization")); }));
    auto to = using_token(api, tokens.url());
    EXPECT_EQ(send(to).body, "Bearer t1");
    std::this_thread::sleep_for(24'500ms);
    EXPECT_EQ(send(to).body, "Bearer t1");
    const auto end = std::chrono::steady_clock::now() + 3s;
    while (asked < 2 && std::chrono::steady_clock::now() < end)
        turn();
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(send(to).body, "Bearer t1");
    EXPECT_EQ(asked, 2) << "and is not asked again at once";
}

TEST_F(TokenTest, ATokenThatIsNeverAcceptedEndsInThe401) {
    std::atomic<int> tokens_given{0};
    std::atomic<int> requests{0};
    Server tokens(answering(
        [&](const ReceivedRequest&) { return grant("t" + std::to_string(++tokens_given)); }));
    Server api(answering([&](const ReceivedRequest&) {
        ++requests;
        return http_answer(401, "");
    }));
    auto to = using_token(api, tokens.url());
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(send(to).status, 401);
    EXPECT_EQ(tokens_given, 1);
    EXPECT_EQ(requests, 5);
}

TEST_F(TokenTest, AWrongSecretIsTheClientsFault) {
    const net::Response response = refused_by(http_answer(
        401, R"({"error":"invalid_client","error_description":"AADSTS7000215: Invalid client )"
             R"(secret provided: s3cret+/&=~value or s3cret%2B%2F%26%3D~value.\r\nTrace ID: 1"})"));
    expect_error(response, TransportErrorKind::credentials,
                 "AADSTS7000215: Invalid client secret provided: ***");
    EXPECT_NE(response.error->message.find("HTTP status 401"), std::string::npos);
    EXPECT_EQ(response.error->message.find('\n'), std::string::npos);
}

TEST_F(TokenTest, ARefusalWithoutWords) {
    expect_error(refused_by(http_answer(400, "")), TransportErrorKind::credentials,
                 "HTTP status 400");
    expect_error(refused_by(http_answer(403, "<html>no</html>")), TransportErrorKind::credentials,
                 "403");
}

TEST_F(TokenTest, WhatPassesIsNotTheClientsFault) {
    const net::Response busy = refused_by(http_answer(503, "", "Retry-After: 7\r\n"));
    expect_error(busy, TransportErrorKind::broken, "HTTP status 503");
    EXPECT_EQ(busy.retry_after, 7s);
    expect_error(refused_by(http_answer(429, "{}")), TransportErrorKind::broken);
    expect_error(refused_by(http_answer(400, R"({"error":"temporarily_unavailable"})")),
                 TransportErrorKind::broken);
    Server api(answering([](const ReceivedRequest&) { return http_answer(200, ""); }));
    expect_error(send(using_token(api, "https://missing.test/token")), TransportErrorKind::resolve,
                 "no access token");
}

TEST_F(TokenTest, BrokenAnswers) {
    const std::string huge(300'000, '[');
    for (const std::string& body :
         {std::string("<html>login</html>"), std::string(""), std::string("[]"),
          std::string("null"), std::string("{}"), std::string(R"({"access_token":7})"),
          std::string(R"({"access_token":""})"),
          std::string(R"({"access_token":"a\r\nX-Evil: 1"})"),
          std::string(R"({"access_token":"a b"})"), std::string("{\"access_token\":\"\xff\"}"),
          std::string(200'000, '['), R"({"access_token":")" + std::string(100'000, 'x') + "\"}"})
        expect_error(refused_by(http_answer(200, body)), TransportErrorKind::broken);
    expect_error(refused_by(http_answer(200, huge)), TransportErrorKind::too_large);
    expect_error(refused_by(http_answer(302, "", "Location: https://login.example.com/\r\n")),
                 TransportErrorKind::broken, "302");
}

TEST_F(TokenTest, PlainHttpToTheTokenServerIsRefused) {
    Server api(answering([](const ReceivedRequest&) { return http_answer(200, ""); }));
    expect_error(send(using_token(api, "http://login.example.com/token")),
                 TransportErrorKind::configuration, "allow_plaintext");
}

TEST_F(TokenTest, CancelWhileTheTokenIsOnItsWay) {
    Server api(answering([](const ReceivedRequest&) { return http_answer(200, ""); }));
    Server tokens([](Connection& connection) {
        connection.read();
        connection.wait_for_close();
    });
    auto to = using_token(api, tokens.url());
    const net::Ticket ticket = client.submit(to, request());
    while (tokens.connections() == 0)
        turn(5ms);
    client.cancel(to.get());
    expect_error(wait_for(ticket), TransportErrorKind::cancelled);
}

TEST(AccessToken, IsRenewedBeforeItExpires) {
    net::AccessToken token;
    const net::Clock::time_point now{};
    EXPECT_FALSE(token.is_usable(now));
    token.store({"t", 3600s}, now);
    EXPECT_FALSE(token.is_due(now + 3299s));
    EXPECT_TRUE(token.is_due(now + 3300s));
    token.store({"t", 100s}, now);
    EXPECT_FALSE(token.is_due(now + 79s));
    EXPECT_TRUE(token.is_due(now + 80s));
}

TEST(AccessToken, ServesUntilItExpires) {
    net::AccessToken token;
    const net::Clock::time_point now{};
    token.store({"t", 3600s}, now);
    token.put_off(now + 3300s, std::nullopt);
    EXPECT_FALSE(token.is_due(now + 3329s));
    EXPECT_TRUE(token.is_due(now + 3330s));
    token.put_off(now + 3330s, 24h);
    EXPECT_TRUE(token.is_usable(now + 3599s));
    EXPECT_FALSE(token.is_due(now + 3599s));
    EXPECT_FALSE(token.is_usable(now + 3600s));
    EXPECT_TRUE(token.is_due(now + 3600s)) << "whatever the server has asked for";
}

TEST(AccessToken, A401MeansARenewalOnlyWhenAnotherTokenMayHelp) {
    net::AccessToken token;
    const net::Clock::time_point now{};
    token.store({"t", 3600s}, now);
    EXPECT_FALSE(token.refused(1, now + 1s)) << "new, and never accepted";
    EXPECT_TRUE(token.is_usable(now + 1s));
    token.confirm(1);
    EXPECT_TRUE(token.refused(1, now + 2s));
    EXPECT_FALSE(token.is_usable(now + 2s));
    token.store({"u", 3600s}, now);
    EXPECT_TRUE(token.refused(1, now + 3s)) << "an old one: try the current one";
    EXPECT_TRUE(token.is_usable(now + 3s));
    EXPECT_TRUE(token.refused(2, now + 61s));
}

std::chrono::seconds lifetime_of(const std::string& json) {
    net::Response response;
    response.status = 200;
    response.body = R"({"access_token":"t")" + json + "}";
    auto answer = net::read_token_answer({}, response);
    return std::get<net::TokenGrant>(answer).lifetime;
}

TEST(AccessToken, LivesAsLongAsTheServerSays) {
    EXPECT_EQ(lifetime_of(""), 3600s);
    EXPECT_EQ(lifetime_of(R"(,"expires_in":3599)"), 3599s);
    EXPECT_EQ(lifetime_of(R"(,"expires_in":"3599")"), 3599s);
    EXPECT_EQ(lifetime_of(R"(,"expires_in":1e300)"), 86400s);
    for (const char* json : {R"(,"expires_in":0)", R"(,"expires_in":-1)", R"(,"expires_in":"nan")",
                             R"(,"expires_in":null)", R"(,"expires_in":"")"})
        EXPECT_EQ(lifetime_of(json), 30s) << json;
}

}  // namespace

}  // namespace crmsync::test
