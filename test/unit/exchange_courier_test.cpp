// The thread that carries operations: what goes out, what comes back, and when it stops.
#include "exchange/courier.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <map>
#include <thread>

#include "ews_support.h"
#include "net_server.h"

namespace crmsync::test {
namespace {

using namespace std::chrono_literals;
using exchange::Delivery;

std::string deleted() {
    return http_answer(200, envelope(messages("DeleteItem", {success()})),
                       "Content-Type: text/xml; charset=utf-8\r\n");
}

class Couriers : public testing::Test {
  protected:
    static std::shared_ptr<const net::Endpoint> endpoint(const Server& server, int connections) {
        auto endpoint = std::make_shared<net::Endpoint>();
        endpoint->url = server.url();
        endpoint->timeout = 5s;
        endpoint->connect_timeout = 2s;
        endpoint->max_connections = connections;
        return endpoint;
    }

    void send(std::uint64_t id, const std::shared_ptr<const net::Endpoint>& to) {
        courier.send(
            {id, to, exchange::DeleteItems{{{.id = "item", .change_key = {}}}}, account()});
    }

    // Waits until so many have come back in all.
    const std::map<std::uint64_t, Delivery>& wait_for(std::size_t count) {
        const auto end = std::chrono::steady_clock::now() + 20s;
        while (done.size() < count && std::chrono::steady_clock::now() < end) {
            pollfd descriptor{courier.descriptor(), POLLIN, 0};
            poll(&descriptor, 1, 100);
            for (Delivery& delivery : courier.take()) {
                done.insert_or_assign(delivery.id, std::move(delivery));
            }
        }
        EXPECT_EQ(done.size(), count) << "not all came back within 20 s";
        return done;
    }

    exchange::Courier courier;
    std::map<std::uint64_t, Delivery> done;
};

TEST_F(Couriers, BringEveryAnswerToItsOperation) {
    Server server(answering([](const ReceivedRequest&) { return deleted(); }));
    const auto to = endpoint(server, 4);
    for (std::uint64_t id = 1; id <= 50; ++id) {
        send(id, to);
    }
    for (const auto& [id, delivery] : wait_for(50)) {
        ASSERT_TRUE(delivery.answer) << id;
        EXPECT_FALSE(delivery.answer->failure) << id;
        EXPECT_EQ(delivery.answer->items.size(), 1u) << id;
    }
    EXPECT_EQ(courier.under_way(), 0u);
    EXPECT_LE(server.most_open_at_once(), 4);
    EXPECT_TRUE(courier.take().empty());
}

TEST_F(Couriers, AnOperationThatCannotBeRenderedIsAnsweredAsOneThatMayBeDivided) {
    Server server(answering([](const ReceivedRequest&) { return deleted(); }));
    courier.send({7, endpoint(server, 1), exchange::DeleteItems{}, account()});
    const Delivery& delivery = wait_for(1).at(7);
    ASSERT_TRUE(delivery.answer && delivery.answer->failure);
    EXPECT_EQ(delivery.answer->failure->disposition, exchange::Disposition::bisect);
    EXPECT_EQ(server.connections(), 0);
}

TEST_F(Couriers, AfterAFailureNothingMoreGoesThere) {
    std::atomic<int> requests = 0;
    Server server(answering([&](const ReceivedRequest&) {
        ++requests;
        std::this_thread::sleep_for(100ms);  // until all have been sent
        return http_answer(503, "");
    }));
    const auto to = endpoint(server, 2);
    for (std::uint64_t id = 1; id <= 10; ++id) {
        send(id, to);
    }
    wait_for(10);
    int unsent = 0;
    for (const auto& [id, delivery] : done) {
        unsent += delivery.answer ? 0 : 1;
    }
    EXPECT_EQ(requests + unsent, 10);
    EXPECT_LE(requests, 4);  // the two under way, and what took their connections
}

// Its owner is at something else meanwhile.
TEST_F(Couriers, NorWhatIsSentBeforeTheFailureIsKnown) {
    std::atomic<int> requests = 0;
    Server server(answering([&](const ReceivedRequest&) {
        ++requests;
        return http_answer(503, "");
    }));
    const auto to = endpoint(server, 2);
    send(1, to);
    pollfd descriptor{courier.descriptor(), POLLIN, 0};
    poll(&descriptor, 1, 10'000);
    send(2, to);
    send(3, to);
    wait_for(3);
    EXPECT_EQ(requests, 1);
    EXPECT_FALSE(done.at(2).answer);
    send(4, to);
    EXPECT_TRUE(wait_for(4).at(4).answer);
}

TEST_F(Couriers, APasswordThatIsWrongIsTriedOnce) {
    std::atomic<int> requests = 0;
    Server server(answering([&](const ReceivedRequest&) {
        ++requests;
        std::this_thread::sleep_for(100ms);  // until all have been sent
        return http_answer(401, "");
    }));
    const auto to = endpoint(server, 4);
    for (std::uint64_t id = 1; id <= 20; ++id) {
        send(id, to);
    }
    wait_for(20);
    EXPECT_EQ(requests, 1);
}

// Those that wait for a connection do not follow, although one becomes free.
TEST_F(Couriers, APasswordThatIsChangedIsTriedByNoMoreThanWereUnderWay) {
    std::atomic<int> requests = 0;
    Server server(answering([&](const ReceivedRequest&) {
        const bool first = ++requests == 1;
        std::this_thread::sleep_for(100ms);  // until all have been sent
        return first ? deleted() : http_answer(401, "");
    }));
    const auto to = endpoint(server, 4);
    for (std::uint64_t id = 1; id <= 20; ++id) {
        send(id, to);
    }
    wait_for(20);
    EXPECT_EQ(requests, 1 + 4);
}

// The token server has just vouched for us: no account is locked by trying again.
TEST_F(Couriers, ATokenThatIsRefusedIsNoWrongPassword) {
    Server server(answering([](const ReceivedRequest& request) {
        return request.line.starts_with("POST /token")
                   ? http_answer(200, R"({"access_token": "t", "expires_in": 3600})")
                   : http_answer(401, "");
    }));
    auto by_token = std::make_shared<net::Endpoint>(*endpoint(server, 1));
    send(1, by_token);
    EXPECT_EQ(wait_for(1).at(1).answer->failure->disposition, exchange::Disposition::credentials);
    by_token = std::make_shared<net::Endpoint>(*by_token);
    by_token->auth = net::Auth::oauth2;
    by_token->client_id = "crm";
    by_token->secret = "secret";
    by_token->token_url = server.url() + "token";
    send(2, by_token);
    EXPECT_EQ(wait_for(2).at(2).answer->failure->disposition, exchange::Disposition::target_broken);
}

TEST_F(Couriers, AnotherEndpointIsNotConcerned) {
    Server bad(answering([](const ReceivedRequest&) { return http_answer(503, ""); }));
    Server good(answering([](const ReceivedRequest&) { return deleted(); }));
    const auto to_bad = endpoint(bad, 1);
    const auto to_good = endpoint(good, 1);
    for (std::uint64_t id = 0; id < 10; ++id) {
        send(2 * id, to_bad);
        send(2 * id + 1, to_good);
    }
    for (const auto& [id, delivery] : wait_for(20)) {
        if (id % 2 == 1) {
            ASSERT_TRUE(delivery.answer) << id;
            EXPECT_FALSE(delivery.answer->failure) << id;
        }
    }
}

TEST_F(Couriers, WhatIsRecalledComesBackUnsentAndWhatIsUnderWayIsAnswered) {
    std::atomic<bool> go = false;
    std::atomic<int> requests = 0;
    Server server(answering([&](const ReceivedRequest&) {
        ++requests;
        while (!go) {
            std::this_thread::sleep_for(1ms);
        }
        return deleted();
    }));
    const auto to = endpoint(server, 1);
    for (std::uint64_t id = 1; id <= 5; ++id) {
        send(id, to);
    }
    while (requests == 0) {
        std::this_thread::sleep_for(1ms);
    }
    courier.recall();
    wait_for(4);
    go = true;
    EXPECT_TRUE(wait_for(5).at(1).answer);
    for (std::uint64_t id = 2; id <= 5; ++id) {
        EXPECT_FALSE(done.at(id).answer) << id;
    }
    EXPECT_EQ(requests, 1);
}

TEST_F(Couriers, WakeTheOwnerForSeveralAnswersAtOnceWhileThereIsEnoughToSend) {
    Server server(answering([](const ReceivedRequest&) {
        std::this_thread::sleep_for(1ms);
        return deleted();
    }));
    const auto to = endpoint(server, 1);
    for (std::uint64_t id = 1; id <= 40; ++id) {
        send(id, to);
    }
    int awakenings = 0;
    std::size_t came = 0;
    for (const auto end = std::chrono::steady_clock::now() + 20s;
         came < 40 && std::chrono::steady_clock::now() < end; ++awakenings) {
        pollfd descriptor{courier.descriptor(), POLLIN, 0};
        poll(&descriptor, 1, 1000);
        came += courier.take().size();
    }
    EXPECT_EQ(came, 40u);
    EXPECT_LT(awakenings, 30);
}

TEST_F(Couriers, HoldNoAnswerBackForLong) {
    std::atomic<int> requests = 0;
    Server server(answering([&](const ReceivedRequest&) {
        if (++requests == 2) {
            std::this_thread::sleep_for(1s);
        }
        return deleted();
    }));
    const auto to = endpoint(server, 1);
    for (std::uint64_t id = 1; id <= 8; ++id) {
        send(id, to);
    }
    const auto started = std::chrono::steady_clock::now();
    pollfd descriptor{courier.descriptor(), POLLIN, 0};
    poll(&descriptor, 1, 10'000);
    EXPECT_LT(std::chrono::steady_clock::now() - started, 700ms);
    EXPECT_EQ(courier.take().size(), 1u);
    wait_for(7);
}

TEST_F(Couriers, StopAtOnceWhateverIsUnderWay) {
    Server server([](Connection& connection) { connection.wait_for_close(); });
    send(1, endpoint(server, 1));
    std::this_thread::sleep_for(50ms);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(courier.stop(5s));
    EXPECT_TRUE(courier.stop(5s));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 500ms);
}

TEST_F(Couriers, RunNoSignalHandlers) {
    // The signal is for the process: any thread that does not block it may take it.
    static std::atomic<pthread_t> taken_by;
    taken_by = 0;
    const auto before = signal(SIGUSR1, [](int) { taken_by = pthread_self(); });
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &only, nullptr);
    kill(getpid(), SIGUSR1);
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(taken_by, pthread_t(0));
    pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
    EXPECT_EQ(taken_by, pthread_self());
    signal(SIGUSR1, before);
}

}  // namespace
}  // namespace crmsync::test
