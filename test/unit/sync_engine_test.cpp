// Many mailboxes and targets at once: who may send when, and whom a failure delays.
#include "sync/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "exchange/ews/failures.h"
#include "sync_exchange.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using exchange::Failure;
using exchange::Scope;
using test::create_task;
using test::failed;
using test::item_failure;
using test::mailbox_description;
using test::prefix;
using namespace std::chrono_literals;

Failure unreachable() {
    return {.disposition = Disposition::back_off,
            .code = "CONNECT",
            .message = "connection refused",
            .scope = Scope::target};
}

Failure refused() {
    return {.disposition = Disposition::credentials, .code = "HTTP-401", .message = "no"};
}

class Engines : public testing::Test {
  protected:
    Engines() {
        for (const char* target : {"one", "two"}) {
            engine.set_target(target, 4);
        }
    }

    int mailbox(const std::string& target, const std::string& address) {
        engine.set_mailbox(mailbox_description(++last_mailbox, target, address));
        return last_mailbox;
    }

    // Mailboxes of one target, each with some records to create.
    std::vector<int> mailboxes(const std::string& target, int count, int records = 1) {
        std::vector<int> ids;
        for (int i = 0; i < count; ++i) {
            ids.push_back(mailbox(target, target + std::to_string(i) + "@example.com"));
            for (int r = 0; r < records; ++r) {
                engine.add(ids.back(), create_task(prefix, std::to_string(r)), now);
            }
        }
        return ids;
    }

    exchange::Answer execute(const Sending& sending) {
        return server.execute(sending.account, sending.operation);
    }

    std::vector<Sending> take_all() {
        std::vector<Sending> all;
        while (auto sending = engine.next(now)) {
            all.push_back(std::move(*sending));
        }
        return all;
    }

    void answer_well(const std::vector<Sending>& sendings) {
        for (const Sending& sending : sendings) {
            engine.answer(sending.id, execute(sending), now);
        }
    }

    // Until nothing can be sent now.
    int run() {
        int requests = 0;
        for (auto all = take_all(); !all.empty(); all = take_all()) {
            requests += static_cast<int>(all.size());
            answer_well(all);
            if (requests > 10'000) {
                ADD_FAILURE() << "no end";
                break;
            }
        }
        return requests;
    }

    // Other than that a target works as ever.
    std::vector<TargetChange> news() {
        auto changes = engine.take_target_changes();
        std::erase_if(changes, [](const TargetChange& change) {
            return !change.failure && !change.recovered;
        });
        return changes;
    }

    std::size_t count(const std::vector<Outcome>& outcomes, Result result) {
        return static_cast<std::size_t>(
            std::count_if(outcomes.begin(), outcomes.end(),
                          [&](const Outcome& outcome) { return outcome.result == result; }));
    }

    test::FakeExchange server;
    Engine engine;
    Clock::time_point now{1h};
    int last_mailbox = 0;
};

TEST_F(Engines, TheWindowGrowsFromOneToTheLimit) {
    mailboxes("one", 20, 5);
    std::vector<std::size_t> sizes;
    for (int round = 0; round < 5; ++round) {
        const auto all = take_all();
        sizes.push_back(all.size());
        answer_well(all);
    }
    EXPECT_EQ(sizes, (std::vector<std::size_t>{1, 2, 4, 4, 4}));
}

// How many may try its credentials, net::Probation says.
TEST_F(Engines, OnlyATargetThatFailedBeforeBeginsWithOneRequest) {
    mailboxes("one", 20);
    engine.set_target_health("one", {.accepted = true});
    EXPECT_EQ(take_all().size(), 4u);
    mailboxes("two", 20);
    engine.set_target_health("two", {.attempts = 1, .accepted = true});
    EXPECT_EQ(take_all().size(), 1u);
}

TEST_F(Engines, ALowerLimitHoldsAtOnce) {
    mailboxes("one", 20, 5);
    for (int round = 0; round < 4; ++round) {
        answer_well(take_all());
    }
    engine.set_target("one", 2);
    EXPECT_EQ(take_all().size(), 2u);
}

TEST_F(Engines, OnlyATargetThatDoesWellGetsRequestsAhead) {
    engine.set_target("one", 4, 3);
    mailboxes("one", 20, 500);
    std::vector<std::size_t> sizes;
    for (int round = 0; round < 5; ++round) {
        const auto all = take_all();
        sizes.push_back(all.size());
        answer_well(all);
    }
    EXPECT_EQ(sizes, (std::vector<std::size_t>{1, 2, 4 + 3, 7, 7}));
    const auto all = take_all();
    engine.answer(all.front().id, failed(unreachable()), now);
    now += 10min;
    EXPECT_TRUE(take_all().empty());
    for (const Sending& sending : all) {
        engine.not_sent(sending.id);
    }
    EXPECT_EQ(take_all().size(), 1u);
}

TEST_F(Engines, ASlowTargetGetsNoMoreAheadThanItHasConnections) {
    engine.set_target("one", 4, 16);
    mailboxes("one", 40, 500);
    for (int round = 0; round < 5; ++round) {
        answer_well(take_all());
    }
    auto all = take_all();
    EXPECT_EQ(all.size(), 4u + 16u);
    for (std::size_t next = 0; next < 60; ++next) {
        now += 25ms;
        answer_well({all.at(next)});
        const auto more = take_all();
        all.insert(all.end(), more.begin(), more.end());
    }
    EXPECT_EQ(engine.in_flight(), 4u + 4u);
}

TEST_F(Engines, WhatWasNotSentWaitsAgainAndNothingOfItIsLost) {
    engine.set_target("one", 1, 1);
    mailboxes("one", 3, 120);
    int turn = 0;
    for (auto all = take_all(); !all.empty() && turn < 1000; all = take_all()) {
        for (const Sending& sending : all) {
            if (++turn % 3 == 0) {
                engine.not_sent(sending.id);
            } else {
                engine.answer(sending.id, execute(sending), now);
            }
        }
    }
    EXPECT_EQ(count(engine.take_outcomes(), Result::written), 360u);
    EXPECT_EQ(engine.queued(), 0u);
    EXPECT_TRUE(server.duplicates().empty());
}

TEST_F(Engines, WhatWasNotSentBeforeAReleaseComesBack) {
    mailboxes("one", 1, 10);
    answer_well(take_all());
    answer_well(take_all());
    const auto create = take_all();
    ASSERT_EQ(create.size(), 1u);
    engine.release(unreachable());
    engine.not_sent(create.front().id);
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 10u);
    EXPECT_EQ(engine.queued("one"), 0u);
    EXPECT_FALSE(engine.next(now));
}

TEST_F(Engines, OneRequestAtATimeInAMailboxAlsoForTwoLinks) {
    const int a = mailbox("one", "a@example.com");
    const int b = mailbox("one", "a@example.com");
    mailboxes("one", 3);
    run();
    for (const int id : {a, b}) {
        engine.add(id, create_task(prefix, "1"), now);
    }
    const auto first = take_all();
    ASSERT_EQ(first.size(), 1u);
    EXPECT_FALSE(engine.next_time()) << "only the answer can help";
    answer_well(first);
    const auto second = take_all();
    ASSERT_EQ(second.size(), 1u);
    EXPECT_EQ(second[0].account.mailbox, "a@example.com");
}

// What was made at the old one may be another user's.
TEST_F(Engines, OneRequestAtATimeInAMailboxThatGetsAnotherAddress) {
    for (const char* other : {"one", "two"}) {
        const std::string address = std::string("new@") + other;
        const int id = mailbox("one", std::string("old@") + other);
        engine.add(id, create_task(prefix, "a"), now);
        answer_well(take_all());  // folder
        answer_well(take_all());  // stamps
        const auto create = take_all();
        ASSERT_EQ(create.size(), 1u);
        engine.set_mailbox(mailbox_description(id, other, address));
        engine.add(id, create_task(prefix, "b"), now);
        EXPECT_FALSE(engine.next(now));
        EXPECT_FALSE(engine.next_time()) << "only the answer can help";
        answer_well(create);
        EXPECT_TRUE(engine.take_doubts().back().answer_lost);
        run();
        const auto outcomes = engine.take_outcomes();
        EXPECT_EQ(count(outcomes, Result::written), 2u);
        ASSERT_EQ(outcomes.size(), 2u);
        for (const Outcome& outcome : outcomes) {
            const auto* item = server.item_by_id(address, outcome.item.id);
            ASSERT_NE(item, nullptr);
            EXPECT_EQ(item->stamp, prefix + outcome.record);
        }
    }
}

TEST_F(Engines, WhatIsQueuedForAMailboxGoesToItsNewAddress) {
    const auto ids = mailboxes("one", 2, 120);
    answer_well(take_all());  // folders
    answer_well(take_all());  // stamps
    const auto creates = take_all();
    ASSERT_EQ(creates.size(), 2u);
    for (const int id : ids) {
        EXPECT_TRUE(engine.set_address(id, "new" + std::to_string(id) + "@example.com"));
    }
    EXPECT_FALSE(engine.set_address(7, "nobody@example.com"));
    answer_well({creates[0]});
    engine.answer(creates[1].id, failed(unreachable()), now);
    now += 1min;
    while (const auto sending = engine.next(now)) {
        EXPECT_TRUE(sending->account.mailbox.starts_with("new")) << sending->account.mailbox;
        answer_well({*sending});
    }
    EXPECT_EQ(count(engine.take_outcomes(), Result::written), 240u);
    for (const int id : ids) {
        EXPECT_EQ(server.count("new" + std::to_string(id) + "@example.com"), 120u);
        EXPECT_FALSE(engine.set_address(id, "idle@example.com"));
    }
}

TEST_F(Engines, FreshWorkOvertakesOtherMailboxesThatWaitAndItsOwnBacklog) {
    const auto ids = mailboxes("one", 10, 3);
    Task fresh = create_task(prefix, "fresh", "Acme", true);
    engine.add(ids[7], fresh, now);
    const auto sending = engine.next(now);
    ASSERT_TRUE(sending);
    EXPECT_EQ(sending->account.mailbox, "one7@example.com");
}

TEST_F(Engines, QueuedCountsWhatIsUnderWay) {
    mailboxes("one", 1, 3);
    EXPECT_EQ(engine.queued("one"), 3u);
    answer_well(take_all());  // folder
    answer_well(take_all());  // stamps
    const auto create = take_all();
    EXPECT_EQ(engine.queued("one"), 3u);
    answer_well(create);
    EXPECT_EQ(engine.queued(), 0u);
    EXPECT_EQ(engine.take_outcomes().size(), 3u);
}

TEST_F(Engines, ATargetThatIsDownDelaysOnlyItself) {
    mailboxes("one", 5, 2);
    mailboxes("two", 5, 2);
    bool more = true;
    for (int round = 0; more && round < 1000; ++round) {
        const auto all = take_all();
        more = !all.empty();
        for (const Sending& sending : all) {
            engine.answer(sending.id,
                          sending.target == "one" ? failed(unreachable()) : execute(sending), now);
        }
    }
    const auto outcomes = engine.take_outcomes();
    EXPECT_EQ(count(outcomes, Result::written), 10u);
    EXPECT_EQ(engine.queued("two"), 0u);
    EXPECT_EQ(engine.queued("one"), 10u) << "a short disturbance keeps its queue";
    ASSERT_TRUE(engine.next_time());
    EXPECT_GT(*engine.next_time(), now);
    EXPECT_FALSE(engine.available("one", now));
    EXPECT_TRUE(engine.available("two", now));
    const auto changes = news();
    ASSERT_EQ(changes.size(), 1u);
    EXPECT_EQ(changes[0].attempts, 1);

    now = *engine.next_time();
    run();
    EXPECT_EQ(engine.queued(), 0u);
    const auto well = news();
    ASSERT_EQ(well.size(), 1u);
    EXPECT_FALSE(well[0].failure);
}

TEST_F(Engines, ALongerOutageHandsEverythingBackAndComesBackWithOneRequest) {
    mailboxes("one", 8, 2);
    answer_well(take_all());
    answer_well(take_all());
    for (const Sending& sending : take_all()) {
        engine.answer(sending.id, failed(unreachable()), now);
    }
    now = *engine.next_time();
    const auto probe = take_all();
    ASSERT_EQ(probe.size(), 1u);
    engine.answer(probe[0].id, failed(unreachable()), now);
    EXPECT_EQ(engine.queued("one"), 0u);
    const auto outcomes = engine.take_outcomes();
    EXPECT_EQ(count(outcomes, Result::released), outcomes.size());
    EXPECT_EQ(outcomes.size(), 16u);
    EXPECT_FALSE(engine.next_time());
    const auto changes = news();
    ASSERT_EQ(changes.size(), 2u);
    EXPECT_GE(changes[1].retry_after, 1s);
}

TEST_F(Engines, RequestsThatFailTogetherAreOneFailure) {
    mailboxes("one", 8, 2);
    for (int round = 0; round < 3; ++round) {
        answer_well(take_all());
    }
    const auto together = take_all();
    ASSERT_EQ(together.size(), 4u);
    for (const Sending& sending : together) {
        engine.answer(sending.id, failed(unreachable()), now);
    }
    EXPECT_EQ(news().size(), 1u);
    EXPECT_TRUE(engine.take_outcomes().empty() || engine.queued() > 0);
}

TEST_F(Engines, AnAnswerToAnOldRequestDoesNotEndAPause) {
    mailboxes("one", 8, 2);
    answer_well(take_all());
    const auto both = take_all();
    ASSERT_EQ(both.size(), 2u);
    engine.answer(both[0].id, failed(unreachable()), now);
    engine.answer(both[1].id, execute(both[1]), now);
    EXPECT_TRUE(engine.failing("one"));
    EXPECT_EQ(news().size(), 1u);
    EXPECT_FALSE(engine.next(now));
}

TEST_F(Engines, BadCredentialsStopATargetThatNeverWorked) {
    mailboxes("one", 8, 2);
    const auto first = take_all();
    ASSERT_EQ(first.size(), 1u);
    engine.answer(first[0].id, failed(refused()), now);
    EXPECT_FALSE(engine.next(now + 1000h));
    EXPECT_FALSE(engine.next_time());
    EXPECT_EQ(engine.queued("one"), 0u);
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 16u);
    const auto changes = news();
    ASSERT_EQ(changes.size(), 1u);
    EXPECT_FALSE(changes[0].retry_after);

    // What is added nevertheless does not lie there unheard of.
    engine.add(1, create_task(prefix, "late"), now);
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 1u);
    EXPECT_EQ(engine.queued("one"), 0u);

    engine.retry("one");
    EXPECT_TRUE(engine.available("one", now));
    engine.add(1, create_task(prefix, "again"), now);
    run();
    EXPECT_EQ(count(engine.take_outcomes(), Result::written), 1u);
}

// Some servers refuse good credentials when they have too much to do; accounts are locked when the
// wrong ones come too often.
TEST_F(Engines, CredentialsThatWorkedAreTriedAgainAfterARefusalButSeldom) {
    mailboxes("one", 1);
    run();
    EXPECT_TRUE(engine.take_target_changes().at(0).accepted);
    const auto refuse = [&] {
        engine.add(1, create_task(prefix, "x"), now);
        const auto sending = engine.next(now);
        EXPECT_TRUE(sending);
        engine.answer(sending->id, failed(refused()), now);
        EXPECT_FALSE(engine.stopped("one"));
        return *news().at(0).retry_after;
    };
    for (const auto pause : {10'000ms, 300'000ms, 1'800'000ms, 3'600'000ms, 3'600'000ms}) {
        EXPECT_EQ(refuse(), pause);
        EXPECT_FALSE(engine.available("one", now + pause - 1s));
        now += pause;
    }
    // Another worker goes on where this one was.
    engine = {};
    engine.set_target("one", 4);
    engine.set_target_health(
        "one", {.attempts = 5, .accepted = true, .refusals = 5, .not_before = now + 20min});
    mailboxes("one", 1);
    EXPECT_FALSE(engine.next(now + 19min));
    now += 20min;
    last_mailbox = 0;
    engine.set_mailbox(mailbox_description(1, "one", "again@example.com"));
    EXPECT_EQ(refuse(), 1h);
    now += 1h;
    engine.forget_acceptance("one");  // another password is wrong
    engine.add(1, create_task(prefix, "y"), now);
    engine.answer(engine.next(now)->id, failed(refused()), now);
    EXPECT_TRUE(engine.stopped("one"));
}

TEST_F(Engines, WhatOtherCredentialsWereAnsweredSaysNothingOfThePresentOnes) {
    const auto ids = mailboxes("one", 1);
    const auto old = engine.next(now);
    engine.answer(old->id, execute(*old), now, false);
    for (const TargetChange& change : engine.take_target_changes()) {
        EXPECT_FALSE(change.accepted);
    }
    engine.answer(engine.next(now)->id, failed(refused()), now);
    EXPECT_TRUE(engine.stopped("one"));
}

TEST_F(Engines, AnAddressThatIsWrongForOneMailboxOnlyIsThatMailboxesTrouble) {
    const Failure missing{
        .disposition = Disposition::target_broken, .code = "HTTP-404", .message = "no"};
    mailboxes("one", 1);
    engine.answer(engine.next(now)->id, failed(missing), now);
    EXPECT_TRUE(engine.failing("one")) << "it never worked";
    now += 10min;
    run();
    EXPECT_FALSE(engine.failing("one"));
    const auto others = mailboxes("one", 2);
    const auto sending = engine.next(now);
    engine.answer(sending->id, failed(missing), now);
    EXPECT_FALSE(engine.failing("one"));
    EXPECT_TRUE(engine.next(now)) << "the other one goes on";
}

TEST_F(Engines, WhatIsUnderWayWhenATargetIsStoppedDoesNotStayBehind) {
    const auto ids = mailboxes("one", 4);
    run();
    engine.take_outcomes();
    for (const int id : ids) {
        engine.add(id, create_task(prefix, "x"), now);
    }
    const auto all = take_all();
    ASSERT_EQ(all.size(), 4u);
    engine.forget_acceptance("one");
    engine.answer(all[0].id, failed(refused()), now);
    now += 1min;
    EXPECT_FALSE(engine.available("one", now + 24h));
    ASSERT_EQ(engine.queued("one"), 3u) << "only what is under way";
    for (std::size_t i = 1; i < 4; ++i) {
        engine.answer(all[i].id, failed(unreachable()), now);
    }
    EXPECT_EQ(engine.queued("one"), 0u);
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 4u);
}

TEST_F(Engines, OtherFailuresDoNotMakeOneRefusalTheLast) {
    mailboxes("one", 1);
    run();
    for (const Failure& failure : {unreachable(), unreachable(), unreachable(), refused()}) {
        engine.add(1, create_task(prefix, "x"), now);
        const auto sending = engine.next(now);
        ASSERT_TRUE(sending);
        engine.answer(sending->id, failed(failure), now);
        now += 1h;
    }
    const auto changes = news();
    ASSERT_EQ(changes.size(), 4u);
    EXPECT_TRUE(changes.back().retry_after);
}

TEST_F(Engines, AMailboxInTroubleDelaysOnlyItself) {
    mailboxes("one", 20, 3);
    Failure busy = item_failure(Disposition::retry_later, "ErrorServerBusy");
    busy.retry_after = 10s;
    for (auto all = take_all(); !all.empty(); all = take_all()) {
        for (const Sending& sending : all) {
            engine.answer(
                sending.id,
                sending.account.mailbox == "one3@example.com" ? failed(busy) : execute(sending),
                now);
        }
    }
    EXPECT_EQ(count(engine.take_outcomes(), Result::written), 57u);
    EXPECT_EQ(engine.queued(), 3u);
    EXPECT_TRUE(news().empty());
    ASSERT_TRUE(engine.next_time());
    EXPECT_GE(*engine.next_time(), now + 10s);
    EXPECT_FALSE(engine.next(now + 9s));
    now = *engine.next_time();
    run();
    EXPECT_EQ(engine.queued(), 0u);
}

TEST_F(Engines, TroubleThatEveryMailboxMeetsIsTheTargets) {
    mailboxes("one", 20, 3);
    const Failure down = {.disposition = Disposition::retry_later,
                          .code = "HTTP-503",
                          .message = "Service Unavailable"};
    int requests = 0;
    for (auto all = take_all(); !all.empty(); all = take_all()) {
        for (const Sending& sending : all) {
            ++requests;
            engine.answer(sending.id, failed(down), now);
        }
    }
    EXPECT_EQ(requests, 3);
    EXPECT_TRUE(engine.failing("one"));
}

TEST_F(Engines, TooLargeBatchesShrinkForAllAndGrowBack) {
    mailboxes("one", 1, 60);
    Failure slow = {.disposition = Disposition::shrink_batch,
                    .code = "TIMEOUT",
                    .message = "too slow",
                    .may_have_happened = true,
                    .scope = Scope::request};
    std::size_t largest = 0;
    for (int i = 0; i < 100 && engine.queued() > 0; ++i) {
        now = engine.next_time().value_or(now);
        for (const Sending& sending : take_all()) {
            const auto* create = std::get_if<exchange::CreateItems>(&sending.operation);
            if (create != nullptr) {
                largest = std::max(largest, create->items.size());
            }
            const bool too_many = create != nullptr && create->items.size() > 10;
            engine.answer(sending.id, too_many ? failed(slow) : execute(sending), now);
        }
    }
    EXPECT_GT(largest, 10u);
    const auto outcomes = engine.take_outcomes();
    EXPECT_EQ(count(outcomes, Result::released), 0u);
    EXPECT_EQ(count(outcomes, Result::postponed), 0u);
    EXPECT_EQ(count(outcomes, Result::failed), 0u);
    EXPECT_EQ(count(outcomes, Result::written), 60u);
    EXPECT_TRUE(server.duplicates().empty());
}

TEST_F(Engines, ReleaseAlsoTakesWhatWaitsBehindARequestUnderWay) {
    mailboxes("one", 1, 120);
    answer_well(take_all());
    answer_well(take_all());
    const auto create = take_all();
    ASSERT_EQ(create.size(), 1u);
    engine.release("one", unreachable());
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 70u);
    answer_well(create);
    EXPECT_EQ(count(engine.take_outcomes(), Result::written), 50u);
    EXPECT_EQ(engine.queued("one"), 0u);
    EXPECT_FALSE(engine.next(now));
}

TEST_F(Engines, ReleaseOfAllAlsoTakesBackWhatARequestUnderWayLeaves) {
    mailboxes("one", 1, 10);
    mailboxes("two", 1, 10);
    answer_well(take_all());
    answer_well(take_all());
    const auto creates = take_all();
    ASSERT_EQ(creates.size(), 2u);
    engine.release(unreachable());
    for (const Sending& create : creates) {
        exchange::Answer answer;
        answer.failure = test::item_failure(exchange::Disposition::back_off, "ErrorServerBusy");
        engine.answer(create.id, answer, now);
    }
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 20u);
    EXPECT_EQ(engine.queued(), 0u);
    EXPECT_FALSE(engine.next(now + std::chrono::hours(1)));
}

TEST_F(Engines, AReleaseWhileStampsAreListedLeavesNoBlindCreate) {
    server.page_size = 3;
    const int id = mailbox("one", "a@example.com");
    auto& folder = server.mailbox("a@example.com").folders.at("");
    for (int i = 0; i < 6; ++i) {
        folder.items.push_back({"i" + std::to_string(i), 1, prefix + std::to_string(i), {}});
    }
    engine.add(id, create_task(prefix, "0"), now);
    answer_well(take_all());  // folder
    answer_well(take_all());  // first page
    const auto page = take_all();
    engine.release("one", unreachable());
    answer_well(page);
    engine.add(id, create_task(prefix, "0"), now);
    run();
    EXPECT_EQ(folder.items.size(), 6u);
}

TEST_F(Engines, AMailboxThatMovesToAnotherTargetTakesItsPlaceThere) {
    mailboxes("one", 1, 3);
    const auto folder = take_all();
    engine.set_mailbox(mailbox_description(1, "two", "one0@example.com"));
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 3u);
    answer_well(folder);
    engine.add(1, create_task(prefix, "n"), now);
    const auto sending = engine.next(now);
    ASSERT_TRUE(sending);
    EXPECT_EQ(sending->target, "two");
    EXPECT_TRUE(std::holds_alternative<exchange::FindFolder>(sending->operation));
    answer_well({*sending});
    run();
    EXPECT_EQ(engine.queued("one"), 0u);
    EXPECT_EQ(engine.queued("two"), 0u);
}

TEST_F(Engines, OneMailboxGivesBackAllThatIsItsOwn) {
    mailboxes("one", 2, 500);
    for (int round = 0; round < 4; ++round) {
        answer_well(take_all());  // folders, stamps, the first items
    }
    std::size_t written = count(engine.take_outcomes(), Result::written);
    const std::size_t own_before = server.mailbox("one0@example.com").folders.at("").items.size();
    const auto creates = take_all();
    ASSERT_EQ(creates.size(), 2u);
    const Sending& own = creates[creates[0].mailbox == 1 ? 0 : 1];
    const Sending& other = creates[creates[0].mailbox == 1 ? 1 : 0];
    engine.list_changes(1, "");
    engine.take_inventory(1);
    engine.release(1, unreachable());
    const std::size_t sent = std::get<exchange::CreateItems>(own.operation).items.size();
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), 500 - own_before - sent);
    EXPECT_EQ(engine.take_pages().size(), 1u);
    EXPECT_EQ(engine.take_stamp_pages().size(), 1u);
    EXPECT_FALSE(engine.idle(1));

    // What the request under way leaves comes back, too.
    exchange::Answer busy;
    busy.failure = test::item_failure(exchange::Disposition::back_off, "ErrorServerBusy");
    engine.answer(own.id, busy, now);
    EXPECT_EQ(count(engine.take_outcomes(), Result::released), sent);
    EXPECT_TRUE(engine.idle(1));
    answer_well({other});
    now += 1h;
    run();
    written += count(engine.take_outcomes(), Result::written);
    EXPECT_EQ(written, 500 + own_before);
    EXPECT_EQ(engine.queued("one"), 0u);
}

TEST_F(Engines, AMailboxIsIdleWhenNothingOfItIsQueuedOrUnderWay) {
    mailboxes("one", 1);
    EXPECT_FALSE(engine.idle(1));
    run();
    EXPECT_TRUE(engine.idle(1));
    engine.list_changes(1, "");
    EXPECT_FALSE(engine.idle(1));
    const auto listing = take_all();
    EXPECT_FALSE(engine.idle(1));
    answer_well(listing);
    EXPECT_TRUE(engine.idle(1));
    EXPECT_TRUE(engine.idle(7));
}

TEST_F(Engines, OfAMailboxThatIsForgottenNothingIsKnown) {
    mailboxes("one", 1);
    run();
    engine.forget(1);
    EXPECT_FALSE(engine.knows_mailbox(1));
    EXPECT_FALSE(engine.next(now));
    engine.set_mailbox(mailbox_description(1, "two", "one0@example.com"));
    engine.add(1, create_task(prefix, "n"), now);
    const auto sending = engine.next(now);
    ASSERT_TRUE(sending);
    EXPECT_EQ(sending->target, "two");
    EXPECT_TRUE(std::holds_alternative<exchange::FindFolder>(sending->operation));
}

// What EWS makes of trouble is what the engine divides by.
TEST(Scopes, OfTransportErrors) {
    using net::TransportErrorKind;
    net::Response response;
    const auto fails = [&](TransportErrorKind kind, bool sent) {
        response.error = net::TransportError{kind, "words"};
        response.request_was_sent = sent;
        return exchange::ews::transport_failure(response, true);
    };
    for (const auto kind : {TransportErrorKind::resolve, TransportErrorKind::connect,
                            TransportErrorKind::tls, TransportErrorKind::credentials,
                            TransportErrorKind::configuration, TransportErrorKind::timeout}) {
        EXPECT_TRUE(exchange::concerns_target(fails(kind, false))) << static_cast<int>(kind);
    }
    for (const auto kind :
         {TransportErrorKind::timeout, TransportErrorKind::too_large, TransportErrorKind::broken}) {
        EXPECT_EQ(fails(kind, true).scope, Scope::request) << static_cast<int>(kind);
    }
}

TEST(Scopes, OfHttpStatuses) {
    const auto fails = [](int status) {
        net::Response response;
        response.status = status;
        return exchange::ews::http_failure(response, true);
    };
    for (const int status : {301, 401, 404, 440}) {
        EXPECT_TRUE(exchange::concerns_target(fails(status))) << status;
    }
    for (const int status : {403, 429, 502, 503}) {
        EXPECT_EQ(fails(status).scope, Scope::mailbox) << status;
    }
    for (const int status : {400, 408, 413, 500, 504}) {
        EXPECT_EQ(fails(status).scope, Scope::request) << status;
    }
}

TEST_F(Engines, HealthKnownFromBeforeIsHeeded) {
    EXPECT_FALSE(engine.knows_health("one"));
    engine.set_target_health("one", {.attempts = 3, .stopped = true});
    EXPECT_TRUE(engine.knows_health("one"));
    EXPECT_FALSE(engine.available("one", now));
    EXPECT_TRUE(engine.failing("one"));
    engine.retry("one");
    EXPECT_TRUE(engine.available("one", now));
    EXPECT_FALSE(engine.failing("one"));
}

}  // namespace
}  // namespace crmsync::sync
