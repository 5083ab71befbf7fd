// What is updated or deleted, and what becomes of it where the item is another meanwhile, or gone.
#include <gtest/gtest.h>

#include "sync/conversation.h"
#include "sync_one_mailbox.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using exchange::Failure;
using test::create_task;
using test::failed;
using test::item_failure;
using test::item_task;
using test::lost_answer;
using test::OneMailbox;
using test::prefix;
using test::update_task;
using namespace std::chrono_literals;

TEST_F(OneMailbox, DoesNotListForUpdatesAndDeletes) {
    const auto a = stored("a");
    const auto b = stored("b");
    const auto c = stored("c");
    conversation.add(item_task(Action::remove, "a", a));
    conversation.add(item_task(Action::unlink, "b", b));
    conversation.add(update_task(prefix, "c", c, "Other"));
    next<exchange::UpdateItems>();
    answer(execute());
    next<exchange::RemoveStamps>();
    answer(execute());
    next<exchange::DeleteItems>();
    answer(execute());
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(all[0].item.change_key, "v2");
    EXPECT_EQ(all[1].result, Result::unlinked);
    EXPECT_EQ(all[2].result, Result::removed);
}

// Which of items made and changed so long after the request that they name were deleted.
class Stranger : public OneMailbox {
  protected:
    Result meet(std::chrono::seconds created, std::chrono::seconds modified) {
        const auto item = stored("a");
        folder().items.back().attempt = std::chrono::microseconds(sent.time_since_epoch()).count();
        folder().items.back().created = sent + created;
        folder().items.back().modified = sent + modified;
        return remove(item);
    }

    Result remove(const exchange::ItemReference& item) {
        Task task = item_task(Action::remove, "a", item);
        task.unknown = true;
        conversation.add(std::move(task));
        run();
        const auto all = outcomes();
        EXPECT_EQ(all.size(), 1u);
        EXPECT_EQ(all.at(0).copy, all.at(0).result == Result::unlinked);
        return all.at(0).result;
    }

    std::chrono::sys_seconds sent{1767348000s};
};

TEST_F(Stranger, IsDeletedUnlessItsUserHasMadeItAndSomethingElseOfIt) {
    MailboxDescription known = description();
    known.most_create_delay = 2min;
    conversation.redescribe(known);
    EXPECT_EQ(meet(0s, 0s), Result::removed);
    EXPECT_EQ(meet(1s, 24h), Result::removed) << "ours, changed";
    EXPECT_EQ(meet(2min, 24h), Result::removed) << "a create that came late";
    EXPECT_EQ(meet(24h, 24h), Result::removed) << "a copy as it was, or one that was moved";
    EXPECT_EQ(meet(24h, 24h + 2s), Result::removed) << "the server at work";
    EXPECT_EQ(folder().items.size(), 0u);
    EXPECT_EQ(meet(24h, 25h), Result::unlinked);
    EXPECT_EQ(meet(3min, 4min), Result::unlinked);
    EXPECT_EQ(folder().items.size(), 2u);
    EXPECT_EQ(folder().items.back().stamp, "");
}

TEST_F(Stranger, IsDeletedWhereTheServerSaysTooLittle) {
    EXPECT_EQ(remove(stored("a")), Result::removed);
    EXPECT_EQ(remove({"gone", "v1"}), Result::removed);
    const auto item = stored("a");
    for (const char* stamp : {"", "another/link/a"}) {
        folder().items.back().stamp = stamp;
        EXPECT_EQ(remove(item), Result::unlinked);
        EXPECT_EQ(folder().items.back().stamp, stamp);
    }
}

TEST_F(Stranger, ThatCannotBeReadIsDeletedOnlyIfItNeverCanBe) {
    for (const bool damaged : {false, true}) {
        Task task = item_task(Action::remove, "a", stored("a"));
        task.unknown = true;
        conversation.add(std::move(task));
        Failure failure = item_failure(Disposition::item_failed, "ErrorItemCorrupt");
        failure.damaged = damaged;
        EXPECT_EQ(run_failing<exchange::GetItems>(failure), damaged ? 2 : 1);
        EXPECT_EQ(outcomes().at(0).result, damaged ? Result::removed : Result::failed);
    }
}

TEST_F(OneMailbox, FreshChangesGoBeforeABacklogInTheirOrder) {
    for (int i = 0; i < 10; ++i) {
        conversation.add(create_task(prefix, "backlog" + std::to_string(i)));
    }
    Task update = update_task(prefix, "u", stored("u"), "Other");
    update.fresh = true;
    conversation.add(update);
    next<exchange::UpdateItems>();
    answer(execute());
    for (const char* key : {"f1", "f2"}) {
        conversation.add(create_task(prefix, key, "Acme", true));
    }
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    const auto create = next<exchange::CreateItems>(3);
    ASSERT_EQ(create.items.size(), 3u);
    EXPECT_EQ(create.items[0].stamp, std::string(prefix) + "f1");
    EXPECT_EQ(create.items[1].stamp, std::string(prefix) + "f2");
    EXPECT_EQ(create.items[2].stamp, std::string(prefix) + "backlog0");
}

TEST_F(OneMailbox, AStaleChangeKeyIsReadAgainAndTheUpdateRepeated) {
    const auto reference = stored("a");
    server.change(folder().items[0]);
    conversation.add(update_task(prefix, "a", reference, "Other"));
    next<exchange::UpdateItems>();
    answer(execute());
    EXPECT_EQ(next<exchange::GetItems>().ids, std::vector{reference.id});
    answer(execute());
    EXPECT_EQ(next<exchange::UpdateItems>().items[0].item.change_key, "v2");
    answer(execute());
    EXPECT_EQ(folder().items[0].values["company"], "Other");
    EXPECT_EQ(outcomes().at(0).result, Result::written);
}

TEST_F(OneMailbox, RereadsAreBounded) {
    conversation.add(update_task(prefix, "a", stored("a"), "Other"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 20);
        operation = conversation.next(50);
        server.change(folder().items[0]);
        answer(execute());
    }
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::failed);
    EXPECT_EQ(all[0].failure.code, "ErrorIrresolvableConflict");
}

TEST_F(OneMailbox, ARereadThatIsLostIsAskedForAgain) {
    const auto reference = stored("a");
    server.change(folder().items[0]);
    conversation.add(update_task(prefix, "a", reference, "Other"));
    next<exchange::UpdateItems>();
    answer(execute());
    next<exchange::GetItems>();
    answer(failed(lost_answer()));
    next<exchange::GetItems>();
    answer(execute());
    run();
    EXPECT_EQ(outcomes().at(0).result, Result::written);
}

TEST_F(OneMailbox, AnItemThatIsGoneIsCreatedAgainOrNeverAsThePolicySays) {
    for (const auto policy :
         {OnTargetDelete::ignore, OnTargetDelete::recreate, OnTargetDelete::unlink}) {
        MailboxDescription changed = description();
        changed.policy.on_target_delete = policy;
        conversation.redescribe(changed);
        Task task = update_task(prefix, "a", {"nowhere", "v1"}, "Other");
        task.agreed = record::Values{"of the item that is gone"};
        conversation.add(std::move(task));
        folder().items.clear();
        run();
        const auto all = outcomes();
        ASSERT_EQ(all.size(), 1u);
        if (policy == OnTargetDelete::unlink) {
            EXPECT_EQ(all[0].result, Result::vanished);
            EXPECT_TRUE(folder().items.empty());
        } else {
            EXPECT_EQ(all[0].result, Result::written);
            EXPECT_EQ(all[0].action, Action::create);
            EXPECT_FALSE(all[0].agreed) << "it holds what is desired";
            ASSERT_EQ(folder().items.size(), 1u);
            EXPECT_EQ(all[0].item.id, folder().items[0].id);
        }
    }
}

struct StampsWhatIsAway : OneMailbox {
    // Nothing but our stamp is to be written to an item that is not there.
    Result stamp(OnTargetDelete policy, bool was_left) {
        MailboxDescription changed = description();
        changed.policy.on_target_delete = policy;
        conversation.redescribe(changed);
        Task task = update_task(prefix, "a", {"nowhere", "v1"});
        task.fields.clear();
        task.stamp = true;
        task.was_left = was_left;
        conversation.add(std::move(task));
        folder().items.clear();
        run();
        return outcomes().at(0).result;
    }
};

TEST_F(StampsWhatIsAway, ItIsNotMadeAgainForTheStamp) {
    for (const auto policy :
         {OnTargetDelete::ignore, OnTargetDelete::remove, OnTargetDelete::unlink}) {
        EXPECT_EQ(stamp(policy, false), Result::vanished);
        EXPECT_TRUE(folder().items.empty());
    }
    EXPECT_EQ(stamp(OnTargetDelete::recreate, false), Result::written);
    EXPECT_EQ(folder().items.size(), 1u);
}

TEST_F(StampsWhatIsAway, ItIsMadeAgainWhereItWasLeftToItsUserAndIsWantedAgain) {
    for (const auto policy :
         {OnTargetDelete::ignore, OnTargetDelete::remove, OnTargetDelete::unlink}) {
        EXPECT_EQ(stamp(policy, true), Result::written);
        EXPECT_EQ(folder().items.size(), 1u);
    }
}

TEST_F(OneMailbox, WhatWeMayHaveDeletedOurselvesIsCreatedAgainWhateverThePolicySays) {
    MailboxDescription changed = description();
    changed.policy.on_target_delete = OnTargetDelete::unlink;
    conversation.redescribe(changed);
    Task task = update_task(prefix, "a", {"nowhere", "v1"});
    task.stamp = true;
    task.doubtful = true;
    conversation.add(std::move(task));
    run();
    EXPECT_EQ(outcomes().at(0).action, Action::create);
    EXPECT_EQ(folder().items.size(), 1u);
}

TEST_F(OneMailbox, WhoOnlyReadsMakesNothingAnew) {
    Task task = update_task(prefix, "a", {"nowhere", "v1"});
    auto desired = std::make_shared<Desired>(*task.desired);
    auto rules = std::make_shared<Rules>(*desired->rules);
    rules->outbound = false;
    desired->rules = rules;
    task.desired = desired;
    task.fields.clear();
    task.stamp = true;
    conversation.add(std::move(task));
    run();
    EXPECT_EQ(outcomes().at(0).result, Result::vanished);
    EXPECT_TRUE(folder().items.empty());
}

TEST_F(OneMailbox, AnItemThatOnlyMovedIsNeitherCreatedASecondTimeNorTakenForDeleted) {
    for (const auto policy : {OnTargetDelete::ignore, OnTargetDelete::unlink}) {
        MailboxDescription changed = description();
        changed.policy.on_target_delete = policy;
        conversation.redescribe(changed);
        folder().items.clear();
        const auto reference = stored("a");
        server.move(folder(), 0);
        conversation.add(update_task(prefix, "a", reference, "Other"));
        run();
        ASSERT_EQ(folder().items.size(), 1u);
        EXPECT_EQ(folder().items[0].values["company"], "Other");
        const auto all = outcomes();
        EXPECT_EQ(all.at(0).result, Result::written);
        EXPECT_EQ(all.at(0).item.id, folder().items[0].id);
    }
}

TEST_F(OneMailbox, DeletingWhatMovedAwayDoesNotLeadToATwin) {
    const auto reference = stored("a");
    conversation.add(create_task(prefix, "b"));
    run();  // the list is complete now
    server.move(folder(), 0);
    conversation.add(item_task(Action::remove, "a", reference));
    run();
    conversation.add(create_task(prefix, "a"));
    run();
    EXPECT_TRUE(server.duplicates().empty());
}

TEST_F(OneMailbox, WhatIsGoneAlreadyCountsAsRemoved) {
    conversation.add(item_task(Action::remove, "a", {"nowhere", "v1"}));
    conversation.add(item_task(Action::unlink, "b", {"nowhere else", "v1"}));
    run();
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].result, Result::removed);
    EXPECT_EQ(all[1].result, Result::removed);
}

TEST_F(OneMailbox, AnUpdateWithNothingToWriteNeedsNoRequest) {
    Task task = update_task(prefix, "a", {"id", "v1"});
    task.fields.clear();
    task.before.clear();
    conversation.add(task);
    EXPECT_FALSE(conversation.has_work());
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(all[0].item.id, "id");
}

TEST_F(OneMailbox, AStampAloneIsWrittenToo) {
    const exchange::ItemReference item = stored("1");
    folder().items.front().stamp.clear();
    Task task = update_task(prefix, "1", item);
    task.fields.clear();
    task.before.clear();
    task.stamp = true;
    conversation.add(std::move(task));
    run();
    ASSERT_EQ(folder().items.size(), 1u);
    EXPECT_EQ(folder().items.front().stamp, std::string(prefix) + "1");
    const auto done = outcomes();
    ASSERT_EQ(done.size(), 1u);
    EXPECT_EQ(done[0].result, Result::written);
}

}  // namespace
}  // namespace crmsync::sync
