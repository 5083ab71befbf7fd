// A conversation with the fake server, request by request.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sync/conversation.h"
#include "sync_exchange.h"

namespace crmsync::test {

inline exchange::Failure lost_answer() {
    return {.disposition = exchange::Disposition::back_off,
            .code = "CONNECTION",
            .message = "the connection broke off",
            .may_have_happened = true,
            .scope = exchange::Scope::request};
}

class OneMailbox : public testing::Test {
  protected:
    OneMailbox() : conversation(description()) {}

    static sync::MailboxDescription description() {
        return mailbox_description(1, "exchange", "a@example.com");
    }

    template <typename Kind>
    Kind next(std::size_t limit = 50) {
        operation = conversation.next(limit);
        EXPECT_TRUE(std::holds_alternative<Kind>(operation)) << operation.index();
        return std::get<Kind>(operation);
    }

    exchange::Answer execute() { return server.execute(conversation.mailbox().account, operation); }

    std::optional<exchange::Failure> answer(exchange::Answer what) {
        now = std::max(now, conversation.not_before());
        return conversation.answer(std::move(what), now);
    }

    // Lets the server do all there is to do; returns how many requests that took.
    int run(std::size_t limit = 50) {
        int requests = 0;
        while (conversation.has_work() && requests < 1000) {
            now = std::max(now, conversation.not_before());
            operation = conversation.next(limit);
            ++requests;
            conversation.answer(answer_of(execute()), now);
        }
        EXPECT_LT(requests, 1000);
        return requests;
    }
    // The same, but each item of requests of one kind fails. Returns how many requests that took.
    template <typename Kind>
    int run_failing(const exchange::Failure& failure) {
        int requests = 0;
        while (conversation.has_work() && requests < 1000) {
            operation = conversation.next(50);
            ++requests;
            exchange::Answer said;
            if (!std::holds_alternative<Kind>(operation)) {
                said = execute();
            } else {
                said.items.emplace_back().failure = failure;
            }
            answer(std::move(said));
        }
        EXPECT_LT(requests, 1000);
        return requests;
    }
    virtual exchange::Answer answer_of(exchange::Answer answer) { return answer; }

    std::vector<sync::Outcome> outcomes() { return std::exchange(conversation.outcomes(), {}); }

    // Whether the creates that were due were in doubt.
    std::vector<bool> doubts() {
        std::vector<bool> all;
        for (const sync::Doubt& due : std::exchange(conversation.doubts(), {})) {
            all.push_back(due.answer_lost);
        }
        return all;
    }

    // An item that is known to be there.
    exchange::ItemReference stored(const std::string& key, const std::string& value = "Acme") {
        StoredItem& item = folder().items.emplace_back();
        item.id = server.new_id("item");
        item.stamp = prefix + key;
        item.values["company"] = value;
        return {item.id, item.change_key()};
    }
    StoredFolder& folder() { return server.mailbox("a@example.com").folders.at(""); }

    FakeExchange server;
    sync::Conversation conversation;
    exchange::Operation operation;
    sync::Clock::time_point now{std::chrono::hours(1)};
};

}  // namespace crmsync::test
