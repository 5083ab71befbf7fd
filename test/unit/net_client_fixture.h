// What the tests of the HTTP client share: a client, and how it is driven.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "net/client.h"

namespace crmsync::test {

class ClientTest : public testing::Test {
  protected:
    static std::shared_ptr<net::Endpoint> endpoint(const std::string& url) {
        auto endpoint = std::make_shared<net::Endpoint>();
        endpoint->url = url;
        endpoint->timeout = std::chrono::seconds(5);
        endpoint->connect_timeout = std::chrono::seconds(2);
        return endpoint;
    }

    static net::Request request(const std::string& body = "hello") {
        net::Request request;
        request.headers = {"Content-Type: text/xml"};
        request.body = body;
        return request;
    }

    // Waits once, at most `longest`, and takes what has finished.
    void turn(std::chrono::milliseconds longest = std::chrono::milliseconds(100)) {
        client.wait(longest);
        for (net::Completion& completion : client.advance())
            done.insert_or_assign(completion.ticket, std::move(completion.response));
    }

    net::Response wait_for(net::Ticket ticket) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done.contains(ticket) && std::chrono::steady_clock::now() < end)
            turn();
        EXPECT_TRUE(done.contains(ticket)) << "no completion within 20 s";
        return done[ticket];
    }

    net::Response send(const std::shared_ptr<net::Endpoint>& to, net::Request what = request()) {
        return wait_for(client.submit(to, std::move(what)));
    }

    net::Client client;
    std::map<net::Ticket, net::Response> done;
};

inline void expect_error(const net::Response& response, net::TransportErrorKind kind,
                         const std::string& text = "") {
    ASSERT_TRUE(response.error) << "HTTP status " << response.status;
    EXPECT_EQ(response.error->kind, kind) << response.error->message;
    EXPECT_NE(response.error->message.find(text), std::string::npos) << response.error->message;
    EXPECT_EQ(response.status, 0);
    EXPECT_EQ(response.body, "");
}

}  // namespace crmsync::test
