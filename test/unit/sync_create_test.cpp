// What is created, and what is found instead by its stamp.
#include <gtest/gtest.h>

#include <algorithm>

#include "sync/conversation.h"
#include "sync_one_mailbox.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using test::create_task;
using test::failed;
using test::item_failure;
using test::item_task;
using test::lost_answer;
using test::OneMailbox;
using test::prefix;
using test::update_task;

TEST_F(OneMailbox, ListsEveryPageBeforeTheFirstCreate) {
    for (int i = 0; i < 7; ++i) {
        stored("old" + std::to_string(i));
    }
    conversation.add(create_task(prefix, "new"));
    next<exchange::FindFolder>();
    answer(execute());
    for (int page = 0; page < 3; ++page) {
        next<exchange::ListStamps>();
        answer(execute());
    }
    EXPECT_EQ(next<exchange::CreateItems>().items.size(), 1u);
    answer(execute());
    const auto all = outcomes();
    EXPECT_EQ(std::count_if(all.begin(), all.end(),
                            [](const Outcome& o) { return o.result == Result::found; }),
              7);
    EXPECT_EQ(all.back().result, Result::written);
    EXPECT_FALSE(conversation.has_work());
}

TEST_F(OneMailbox, ACreateWhoseAnswerWasLostIsFoundByItsStamp) {
    conversation.add(create_task(prefix, "a", "Old"));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::CreateItems>();
    EXPECT_EQ(doubts(), std::vector{false});
    execute();
    folder().items.at(0).values["given_name"] = "Ann";
    EXPECT_TRUE(answer(failed(lost_answer())));
    EXPECT_EQ(doubts(), std::vector{true}) << "another one may come late";
    EXPECT_GT(conversation.not_before(), now);
    next<exchange::ListStamps>();
    answer(execute());
    EXPECT_EQ(doubts(), std::vector{false});
    next<exchange::GetItems>();
    answer(execute());
    const auto update = next<exchange::UpdateItems>();
    ASSERT_EQ(update.items.size(), 1u);
    EXPECT_EQ(update.items[0].fields[0].property, test::given_name());
    EXPECT_FALSE(update.items[0].fields[0].value) << "what the record lacks is removed";
    answer(execute());
    EXPECT_EQ(folder().items.size(), 1u);
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(all[0].item.id, folder().items[0].id);
    EXPECT_EQ(all[0].before.at(0), "Ann");
    EXPECT_TRUE(all[0].conflicts.empty()) << "it is ours";
}

TEST_F(OneMailbox, AnItemThatIsFoundAsTheCrmHasItIsNotWritten) {
    stored("a");
    stored("b");
    folder().items[0].attempt = 1;
    conversation.add(create_task(prefix, "a"));
    conversation.add(create_task(prefix, "b"));
    EXPECT_EQ(run(), 3) << "the folder, the list, and both items at once";
    for (const Outcome& outcome : outcomes()) {
        EXPECT_EQ(outcome.result, Result::written);
        EXPECT_TRUE(outcome.fields.empty());
    }
}

TEST_F(OneMailbox, WhatOnlyFillsAGapIsNotWrittenOverWhatIsFoundThere) {
    auto desired = std::make_shared<Desired>(*test::desired(prefix, "a", "Acme"));
    auto rules = std::make_shared<Rules>(*desired->rules);
    rules->fields[0].write = record::Write::if_empty;
    desired->rules = rules;
    const auto item = stored("a", "Own");
    for (const std::int64_t attempt : {0, 1}) {
        folder().items[0].attempt = attempt;
        for (const Action action : {Action::create, Action::update}) {
            Task task = create_task(prefix, "a");
            task.action = action;
            task.desired = desired;
            task.item = action == Action::update ? item : exchange::ItemReference();
            task.adopted = attempt == 0;
            conversation = Conversation(description());
            conversation.add(std::move(task));
            run();
            const auto all = outcomes();
            ASSERT_EQ(all.size(), 1u);
            EXPECT_EQ(all[0].result, Result::written);
            EXPECT_EQ(folder().items[0].values["company"], "Own");
            EXPECT_EQ(all[0].agreed.value().at(0), "Own");
        }
    }
}

TEST_F(OneMailbox, WhatFillsAGapMeetsWhatNobodyHasSeenThere) {
    Task task = update_task(prefix, "a", stored("a", "Own"), "Acme");
    task.before = {std::nullopt};
    conversation.add(std::move(task));
    run();
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].before.at(0), "Own");
    EXPECT_EQ(all[0].conflicts.size(), 1u);
}

TEST_F(OneMailbox, WhatAUserMadeKeepsWhatTheCrmHasNoValueForUnlessItHasClearedIt) {
    for (const char* key : {"a", "b"}) {
        stored(key, "Old");
        folder().items.back().values["given_name"] = "Ann";
    }
    conversation.add(create_task(prefix, "a"));
    Task cleared = update_task(prefix, "b", {"moved", "v1"}, "Acme");
    cleared.fields.push_back({test::given_name(), std::nullopt});
    cleared.before = {"Old", "Ann"};
    conversation.add(cleared);
    run();
    EXPECT_EQ(folder().items[0].values["company"], "Acme");
    EXPECT_EQ(folder().items[0].values["given_name"], "Ann");
    EXPECT_EQ(folder().items[1].values["company"], "Acme");
    EXPECT_FALSE(folder().items[1].values.contains("given_name")) << "also when it has moved";
    for (const Outcome& outcome : outcomes()) {
        EXPECT_TRUE(outcome.adopted);
    }
}

TEST_F(OneMailbox, AnItemThatFailedInDoubtIsLookedForBeforeItIsCreatedAgain) {
    conversation.add(create_task(prefix, "a"));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::CreateItems>();
    exchange::Answer doubtful = execute();
    doubtful.items[0].failure =
        item_failure(Disposition::item_failed, "ErrorInternalServerError", true);
    answer(doubtful);
    EXPECT_EQ(outcomes().at(0).result, Result::failed);
    EXPECT_EQ(doubts(), (std::vector{false, true}));
    conversation.add(create_task(prefix, "a"));
    run();
    EXPECT_EQ(folder().items.size(), 1u);
}

TEST_F(OneMailbox, OneDoubtfulItemAmongCertainOnesIsNotOverlooked) {
    for (const char* key : {"a", "b"}) {
        conversation.add(create_task(prefix, key));
    }
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::CreateItems>();
    exchange::Answer mixed = execute();
    mixed.items[0].failure = item_failure(Disposition::back_off, "ErrorMailboxFailover", true);
    mixed.items[1].failure = item_failure(Disposition::back_off, "ErrorInsufficientResources");
    folder().items.pop_back();
    EXPECT_TRUE(answer(mixed));
    run();
    EXPECT_EQ(folder().items.size(), 2u);
    EXPECT_TRUE(server.duplicates().empty());
}

TEST_F(OneMailbox, AnAnswerForFewerItemsBelongsToNone) {
    for (const char* key : {"a", "b", "c"}) {
        conversation.add(create_task(prefix, key));
    }
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::CreateItems>();
    exchange::Answer less = execute();
    less.items.pop_back();
    EXPECT_TRUE(answer(less));
    EXPECT_TRUE(outcomes().empty());
    run();
    EXPECT_EQ(outcomes().size(), 3u);
    EXPECT_EQ(folder().items.size(), 3u);
    EXPECT_TRUE(server.duplicates().empty());
}

TEST_F(OneMailbox, StampsThatListsCutAreLookedUpOneByOne) {
    const std::string common(300, 'k');
    stored(common + "1", "Old");
    stored(common + "2", "Old");
    for (const char* end : {"1", "3"}) {
        conversation.add(create_task(prefix, common + end));
    }
    run();
    EXPECT_EQ(folder().items.size(), 3u);
    EXPECT_TRUE(server.duplicates().empty());
    EXPECT_EQ(folder().items[0].values["company"], "Acme");
    EXPECT_EQ(folder().items[1].values["company"], "Old");
}

TEST_F(OneMailbox, AFoundItemNobodyAskedForIsReportedOnceWithItsKey) {
    stored("with%20blank%2Fslash");
    folder().items.push_back({"foreign", 1, "instance/other/1", {}});
    conversation.add(create_task(prefix, "a"));
    run();
    conversation.add(create_task(prefix, "b"));
    run();
    const auto all = outcomes();
    EXPECT_EQ(std::count_if(all.begin(), all.end(),
                            [](const Outcome& o) { return o.result == Result::found; }),
              1);
    EXPECT_EQ(all[0].record, "with blank/slash");
    EXPECT_EQ(all[0].item.id, folder().items[0].id);
}

TEST_F(OneMailbox, WhatIsToBeUnlinkedWhenTheListIsCompleteIsNotMetByIt) {
    const auto reference = stored("mine");
    for (int i = 0; i < 5; ++i) {
        stored(std::to_string(i));
    }
    conversation.add(create_task(prefix, "0"));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    Task unlink = item_task(Action::unlink, "mine", reference);
    unlink.fresh = true;
    conversation.add(unlink);
    run();
    EXPECT_TRUE(folder().items.front().stamp.empty());
    for (const Outcome& outcome : outcomes()) {
        EXPECT_FALSE(outcome.result == Result::found && outcome.record == "mine");
    }
}

}  // namespace
}  // namespace crmsync::sync
