// What a server refuses is found by dividing the request that it was in.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "sync/conversation.h"
#include "sync_one_mailbox.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using exchange::Failure;
using exchange::Scope;
using test::create_task;
using test::failed;
using test::item_failure;
using test::lost_answer;
using test::OneMailbox;
using test::prefix;
using test::update_task;
using namespace std::chrono_literals;

TEST_F(OneMailbox, AnItemFailureParksThatItemOnly) {
    for (const char* key : {"a", "b", "c"}) {
        conversation.add(create_task(prefix, key));
    }
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::CreateItems>();
    exchange::Answer mixed = execute();
    mixed.items[1].failure = item_failure(Disposition::item_failed, "ErrorPropertyUpdate");
    EXPECT_FALSE(answer(mixed)) << "the target is well";
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(all[1].result, Result::failed);
    EXPECT_EQ(all[1].failure.code, "ErrorPropertyUpdate");
    EXPECT_EQ(all[2].result, Result::written);
    EXPECT_LE(conversation.not_before(), now);
}

TEST_F(OneMailbox, ARequestHasABoundOnWhatItCarries) {
    const std::string large((1U << 20U) + 1, 'x');
    for (const char* key : {"a", "b", "c", "d", "e"}) {
        conversation.add(create_task(prefix, key, large));
    }
    conversation.add(create_task(prefix, "f", std::string(5U << 20U, 'x')));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    std::vector<std::size_t> sizes;
    for (std::size_t written = 0; written < 6; written += outcomes().size()) {
        sizes.push_back(next<exchange::CreateItems>().items.size());
        answer(execute());
    }
    EXPECT_EQ(sizes, (std::vector<std::size_t>{3, 2, 1})) << "and one in any case";
}

// A server that refuses a whole batch because of what some items hold.
class Refusing : public OneMailbox {
  protected:
    exchange::Answer answer_of(exchange::Answer good) override {
        const auto* create = std::get_if<exchange::CreateItems>(&operation);
        if (create == nullptr) {
            return good;
        }
        const bool refused =
            std::any_of(create->items.begin(), create->items.end(),
                        [](const auto& item) { return item.fields.get()[0].value == "poison"; });
        if (!refused) {
            return good;
        }
        // Nothing was done.
        std::erase_if(folder().items, [&](const test::StoredItem& item) {
            return std::any_of(create->items.begin(), create->items.end(),
                               [&](const auto& one) { return one.stamp == item.stamp; });
        });
        return failed(refusal);
    }

    void expect_culprits(std::size_t count, const std::vector<int>& culprits) {
        for (std::size_t i = 0; i < count; ++i) {
            const bool bad = std::count(culprits.begin(), culprits.end(), static_cast<int>(i)) > 0;
            conversation.add(create_task(prefix, std::to_string(i), bad ? "poison" : "Acme"));
        }
        run();
        std::vector<int> failed_ones;
        std::size_t written = 0;
        for (const Outcome& outcome : outcomes()) {
            if (outcome.result == Result::failed) {
                failed_ones.push_back(std::stoi(outcome.record));
            } else if (outcome.result != Result::found) {
                EXPECT_EQ(outcome.result, Result::written);
                ++written;
            }
        }
        std::sort(failed_ones.begin(), failed_ones.end());
        EXPECT_EQ(failed_ones, culprits);
        EXPECT_EQ(written, count - culprits.size());
        EXPECT_EQ(folder().items.size(), written);
        EXPECT_TRUE(server.duplicates().empty());
    }

    Failure refusal = item_failure(Disposition::bisect, "ErrorSchemaValidation");
};

TEST_F(Refusing, OneCulpritIsFound) {
    expect_culprits(50, {17});
}

TEST_F(Refusing, ManyCulpritsAreFound) {
    expect_culprits(50, {0, 1, 24, 48, 49});
}

TEST_F(Refusing, NothingButCulprits) {
    expect_culprits(7, {0, 1, 2, 3, 4, 5, 6});
}

TEST_F(Refusing, TheBatchGrowsBackAfterwards) {
    expect_culprits(50, {3});
    int requests = 0;
    for (int i = 100; i < 300; ++i) {
        conversation.add(create_task(prefix, std::to_string(i)));
    }
    requests = run();
    EXPECT_LT(requests, 12);
}

TEST_F(Refusing, CulpritsOfAServerThatMayFailAtEverythingAreFoundToo) {
    refusal.scope = Scope::request;
    expect_culprits(100, {17, 18, 60});
}

TEST_F(Refusing, NothingButCulpritsOfSuchAServer) {
    refusal.scope = Scope::request;
    std::vector<int> all(20);
    std::iota(all.begin(), all.end(), 0);
    expect_culprits(20, all);
}

// Of one item or of all, which an update alone does not show.
TEST_F(OneMailbox, AServerThatFailsAtEverythingParksNothing) {
    Failure failure = item_failure(Disposition::bisect, "ErrorInternalServerError");
    failure.scope = Scope::request;
    for (const char* key : {"a", "b", "c"}) {
        conversation.add(update_task(prefix, key, stored(key, "old")));
    }
    conversation.next(50);
    EXPECT_FALSE(answer(failed(failure))) << "first it is divided";
    int troubles = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++troubles, 20);
        operation = conversation.next(50);
        exchange::Answer bad = failed(failure);
        if (std::holds_alternative<exchange::UpdateItems>(operation)) {
            bad = execute();
            bad.items.at(0).failure = failure;
            bad.items[0].failure->disposition = Disposition::item_failed;
        }
        const bool asks = !std::holds_alternative<exchange::UpdateItems>(operation);
        EXPECT_EQ(answer(std::move(bad)).has_value(), asks)
            << "its target is judged by it when nothing else is answered either";
    }
    for (const Outcome& outcome : outcomes()) {
        EXPECT_EQ(outcome.result, Result::postponed);
    }
    ASSERT_EQ(conversation.changes().size(), 1u);
    EXPECT_GT(conversation.changes()[0].retry_after, 15s);
}

TEST_F(OneMailbox, AnItemAloneIsParkedOnceTheMailboxHasAnswered) {
    Failure failure = item_failure(Disposition::bisect, "ErrorInternalServerError");
    failure.scope = Scope::request;
    conversation.add(update_task(prefix, "bad", stored("bad", "old")));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(failed(failure)));
    next<exchange::FindFolder>();
    EXPECT_FALSE(answer(execute()));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(failed(failure)));
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::failed);
}

TEST_F(Refusing, ACulpritThatBreaksTheConnectionIsFoundToo) {
    refusal = lost_answer();
    expect_culprits(12, {5});
}

TEST_F(Refusing, ACulpritThatMakesTheServerTooSlowIsFoundToo) {
    refusal = lost_answer();
    refusal.disposition = Disposition::shrink_batch;
    expect_culprits(12, {5});
    EXPECT_TRUE(conversation.take_shrink());
    EXPECT_FALSE(conversation.take_shrink());
}

TEST_F(OneMailbox, OneItemThatAlwaysMeetsTroubleIsParkedAndTheOthersGoOn) {
    int parked = 0;
    for (int round = 0; round < 5; ++round) {
        conversation.add(create_task(prefix, "good" + std::to_string(round)));
    }
    conversation.add(create_task(prefix, "bad"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 50);
        now = std::max(now, conversation.not_before());
        operation = conversation.next(2);
        exchange::Answer reply;
        if (const auto* create = std::get_if<exchange::CreateItems>(&operation)) {
            reply = execute();
            for (std::size_t i = 0; i < create->items.size(); ++i) {
                if (create->items[i].stamp.ends_with("bad")) {
                    std::erase_if(folder().items,
                                  [](const auto& item) { return item.stamp.ends_with("bad"); });
                    reply.items[i].failure =
                        item_failure(Disposition::back_off, "ErrorDataSourceOperation", true);
                    reply.items[i].failure->scope = Scope::request;
                }
            }
        } else {
            reply = execute();
        }
        conversation.answer(std::move(reply), now);
    }
    for (const Outcome& outcome : outcomes()) {
        if (outcome.record == "bad") {
            EXPECT_EQ(outcome.result, Result::failed);
            ++parked;
        } else if (outcome.result != Result::found) {
            EXPECT_EQ(outcome.result, Result::written);
        }
    }
    EXPECT_EQ(parked, 1);
}

}  // namespace
}  // namespace crmsync::sync
