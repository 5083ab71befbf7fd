// A mailbox that cannot be reached, or is full, pauses.
#include <gtest/gtest.h>

#include <algorithm>

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

TEST_F(OneMailbox, AMailboxThatIsDownParksNoRecord) {
    conversation.add(create_task(prefix, "a"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 20);
        operation = conversation.next(50);
        EXPECT_TRUE(answer(failed(lost_answer())));
    }
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::postponed);
    ASSERT_EQ(conversation.changes().size(), 1u);
    EXPECT_GT(conversation.changes()[0].retry_after, 15s);
    EXPECT_GT(conversation.changes()[0].attempts, 3);
    EXPECT_GT(conversation.not_before(), now);
}

TEST_F(OneMailbox, PausesGrow) {
    conversation.add(create_task(prefix, "a"));
    for (int attempt = 0; attempt < 5; ++attempt) {
        operation = conversation.next(50);
        conversation.answer(failed(item_failure(Disposition::back_off, "ErrorADUnavailable")), now);
        const auto pause = conversation.not_before() - now;
        EXPECT_GE(pause, 500ms * (1 << attempt));
        EXPECT_LE(pause, 1s * (1 << attempt));
        now = conversation.not_before();
    }
}

// What is asked for again fails each time, and all that is asked for in between goes well.
TEST_F(OneMailbox, PausesOfOneKindOfRequestGrowWhateverElseGoesWell) {
    conversation.add(create_task(prefix, "a"));
    conversation.add(create_task(prefix, "b"));
    for (int attempt = 0; attempt < 5; ++attempt) {
        for (operation = conversation.next(50);
             !std::holds_alternative<exchange::CreateItems>(operation);
             operation = conversation.next(50)) {
            answer(execute());
        }
        answer(failed(item_failure(Disposition::back_off, "ErrorMailboxFailover", true)));
        EXPECT_GE(conversation.not_before() - now, 500ms * (1 << attempt));
        conversation.list_changes("");
    }
}

// Neither is any page before.
TEST_F(OneMailbox, AListThatMovesAgainAndAgainIsNoSuccess) {
    for (int i = 0; i < 9; ++i) {
        stored(std::to_string(i));
    }
    conversation.add(create_task(prefix, "new"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 30);
        operation = conversation.next(50);
        exchange::Answer page = execute();
        const auto* list = std::get_if<exchange::ListStamps>(&operation);
        if (list != nullptr && list->offset > 0) {
            for (exchange::ItemAnswer& item : page.items) {
                item.item.id = server.new_id("item");
            }
        }
        answer(std::move(page));
    }
    EXPECT_EQ(outcomes().back().result, Result::postponed);
}

TEST_F(OneMailbox, AskedPausesAreKeptAndLongOnesHandTheTasksBack) {
    conversation.add(create_task(prefix, "a"));
    operation = conversation.next(50);
    Failure busy = item_failure(Disposition::retry_later, "ErrorServerBusy");
    busy.retry_after = 10s;
    conversation.answer(failed(busy), now);
    EXPECT_GE(conversation.not_before(), now + 10s);
    EXPECT_TRUE(conversation.has_work());
    operation = conversation.next(50);
    busy.retry_after = 5min;
    conversation.answer(failed(busy), now);
    EXPECT_FALSE(conversation.has_work());
    EXPECT_EQ(outcomes().at(0).result, Result::postponed);
    EXPECT_GE(conversation.changes().at(0).retry_after, 5min);
    EXPECT_GE(conversation.not_before(), now + 5min) << "for tasks that come meanwhile";
}

TEST_F(OneMailbox, WhoeverSaysThatItWorksEndsThePause) {
    conversation.add(create_task(prefix, "a"));
    operation = conversation.next(50);
    Failure busy = item_failure(Disposition::retry_later, "ErrorServerBusy");
    busy.retry_after = 5min;
    conversation.answer(failed(busy), now);
    MailboxDescription known = description();
    known.troubled = true;
    conversation.redescribe(known);
    EXPECT_GT(conversation.not_before(), now);
    known.troubled = false;
    conversation.redescribe(known);
    EXPECT_LE(conversation.not_before(), now);
}

TEST_F(OneMailbox, ADisabledMailboxHandsItsTasksBackAndSaysWhenItIsWellAgain) {
    conversation.add(create_task(prefix, "a"));
    operation = conversation.next(50);
    EXPECT_FALSE(
        answer(failed(item_failure(Disposition::mailbox_disabled, "ErrorNonExistentMailbox"))));
    EXPECT_EQ(outcomes().at(0).result, Result::postponed);
    ASSERT_EQ(conversation.changes().size(), 1u);
    EXPECT_TRUE(conversation.changes()[0].failure);
    EXPECT_TRUE(conversation.changes()[0].disabled);
    EXPECT_GE(conversation.changes()[0].retry_after, 7min) << "it may be so in passing only";
    conversation.changes().clear();
    conversation.add(create_task(prefix, "a"));
    run();
    ASSERT_FALSE(conversation.changes().empty());
    EXPECT_FALSE(conversation.changes()[0].failure);
}

// However well it can be read.
TEST_F(OneMailbox, AFullMailboxIsTriedAgainWithGrowingPausesOfItsOwn) {
    Task task = update_task(prefix, "a", stored("a", "Old"));
    task.before.clear();
    auto shortest = 7min;
    for (const auto longest : {15min, 30min, 60min}) {
        conversation.add(task);
        conversation.list_changes("");
        for (operation = conversation.next(50);
             !std::holds_alternative<exchange::UpdateItems>(operation);
             operation = conversation.next(50)) {
            answer(execute());
        }
        exchange::Answer full;
        full.items.emplace_back().failure =
            item_failure(Disposition::mailbox_full, "ErrorQuotaExceeded");
        EXPECT_FALSE(answer(full));
        EXPECT_EQ(outcomes().back().result, Result::postponed);
        const auto change = conversation.changes().back();
        ASSERT_TRUE(change.failure);
        EXPECT_TRUE(change.disabled) << "its user has to make room";
        EXPECT_GE(change.retry_after, shortest);
        EXPECT_LE(change.retry_after, longest);
        shortest *= 2;
        now += change.retry_after;
    }
}

// A server that stops in the middle of each batch, says when to come again, and of what follows
// only that it has not come to it.
TEST_F(OneMailbox, WhatTheServerHasNotComeToIsNoFailureAndItsPauseIsKept) {
    constexpr std::size_t taken = 3;
    for (int i = 0; i < 20; ++i) {
        conversation.add(create_task(prefix, std::to_string(i)));
    }
    while (conversation.has_work()) {
        now = std::max(now, conversation.not_before());
        operation = conversation.next(50);
        auto* create = std::get_if<exchange::CreateItems>(&operation);
        if (create == nullptr || create->items.size() <= taken) {
            conversation.answer(execute(), now);
            continue;
        }
        const std::size_t all = create->items.size();
        create->items.resize(taken);
        exchange::Answer reply = execute();
        reply.items.resize(all);
        for (std::size_t i = taken; i < all; ++i) {
            reply.items[i].failure =
                item_failure(i == taken ? Disposition::retry_later : Disposition::back_off,
                             i == taken ? "ErrorServerBusy" : "ErrorBatchProcessingStopped");
        }
        reply.items[taken].failure->retry_after = 10s;
        conversation.answer(std::move(reply), now);
        EXPECT_GE(conversation.not_before(), now + 10s);
    }
    const auto all = outcomes();
    EXPECT_EQ(all.size(), 20u);
    for (const Outcome& outcome : all) {
        EXPECT_EQ(outcome.result, Result::written) << outcome.record;
    }
    EXPECT_EQ(folder().items.size(), 20u);
}

TEST_F(OneMailbox, TargetWideFailuresArePassedOnWithoutAPauseOfTheMailbox) {
    for (const Failure& failure :
         {Failure{.disposition = Disposition::credentials, .code = "HTTP-401", .message = ""},
          Failure{.disposition = Disposition::target_broken, .code = "TLS", .message = ""},
          Failure{.disposition = Disposition::back_off,
          .code = "DNS",
          .message = "",
          .scope = Scope::target}}) {
        conversation.add(create_task(prefix, "a"));
        operation = conversation.next(50);
        const auto passed_on = conversation.answer(failed(failure), now);
        ASSERT_TRUE(passed_on);
        EXPECT_TRUE(exchange::concerns_target(*passed_on));
        EXPECT_LE(conversation.not_before(), now);
        EXPECT_TRUE(conversation.has_work());
        EXPECT_TRUE(outcomes().empty());
    }
}

}  // namespace
}  // namespace crmsync::sync
