// What is to go and is not where it was known to be: its user may have moved it, and back.
#include <gtest/gtest.h>

#include "sync_one_mailbox.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using test::create_task;
using test::failed;
using test::item_failure;
using test::item_task;
using test::OneMailbox;
using test::prefix;
using test::update_task;

class Astray : public OneMailbox {
  protected:
    Astray() {
        conversation.add(create_task(prefix, "other"));
        run();  // where the folder is
        outcomes();
        doubts();
        folder().items.clear();
    }

    // An item that we have made.
    exchange::ItemReference ours(const std::string& key) {
        const auto reference = stored(key);
        folder().items.back().attempt = 1;
        return reference;
    }

    exchange::ItemReference moved(const std::string& key) {
        const auto reference = ours(key);
        server.move(folder(), folder().items.size() - 1);
        return reference;
    }

    // The outcome of a task, and whether its item had another id than was known.
    void expect(Result result, bool moved) {
        const auto all = outcomes();
        ASSERT_EQ(all.size(), 1u);
        EXPECT_EQ(all[0].result, result);
        EXPECT_EQ(all[0].record, "a");
        EXPECT_EQ(!all[0].known_as.empty(), moved);
        EXPECT_EQ(all[0].item.id == "nowhere", !moved && result == Result::removed);
    }

    void expect_left_to_user() {
        run();
        const auto all = outcomes();
        ASSERT_EQ(all.size(), 1u);
        EXPECT_EQ(all[0].result, Result::unlinked);
        EXPECT_TRUE(all[0].copy);
        EXPECT_EQ(folder().items.at(0).stamp, "");
    }

    int run_failing_lists() {
        int requests = 0;
        while (conversation.has_work() && requests < 100) {
            operation = conversation.next(50);
            ++requests;
            answer(std::holds_alternative<exchange::ListStamps>(operation)
                       ? failed({.disposition = Disposition::back_off,
                                 .code = "TIMEOUT",
                                 .message = "nothing",
                                 .scope = exchange::Scope::request})
                       : execute());
        }
        return requests;
    }

    Task remove_task(const exchange::ItemReference& item = {"nowhere", "v1"}) {
        return item_task(Action::remove, "a", item);
    }
};

TEST_F(Astray, IsFoundByItsStampAndDeleted) {
    stored("b");
    conversation.add(remove_task(moved("a")));
    run();
    expect(Result::removed, true);
    ASSERT_EQ(folder().items.size(), 1u) << "and nothing else";
    EXPECT_EQ(folder().items[0].stamp, std::string(prefix) + "b");
    EXPECT_TRUE(doubts().empty()) << "nothing is about to be created";
}

TEST_F(Astray, LosesItsStampWhereItIsLeftToItsUser) {
    conversation.add(item_task(Action::unlink, "a", moved("a")));
    run();
    expect(Result::unlinked, true);
    EXPECT_EQ(folder().items.at(0).stamp, "");
}

TEST_F(Astray, IsNotTheCopyThatIsAboutToLoseTheStamp) {
    Task copy = item_task(Action::unlink, "a", ours("a"));
    copy.surplus = true;
    conversation.add(remove_task());
    next<exchange::DeleteItems>();
    answer(execute());
    next<exchange::ListStamps>();
    conversation.add(std::move(copy));
    answer(execute());
    EXPECT_EQ(outcomes().at(0).result, Result::removed);
    run();
    EXPECT_EQ(outcomes().at(0).result, Result::unlinked);
    EXPECT_EQ(folder().items.size(), 1u);
}

TEST_F(Astray, HasAKeyThatIsWrittenDownOtherwiseInItsStamp) {
    conversation.add(item_task(Action::remove, "a/b%", moved("a%2Fb%25")));
    run();
    EXPECT_TRUE(folder().items.empty());
}

TEST_F(Astray, IsTheirUsersWhereTheyHaveMadeSomethingElseOfACopy) {
    using namespace std::chrono_literals;
    const auto reference = moved("a");
    const std::chrono::sys_seconds sent{1767348000s};
    folder().items[0].attempt = std::chrono::microseconds(sent.time_since_epoch()).count();
    folder().items[0].created = sent + 24h;
    folder().items[0].modified = sent + 48h;
    conversation.add(remove_task(reference));
    expect_left_to_user();
}

TEST_F(Astray, IsTheirUsersWhereTheyHaveMadeIt) {
    conversation.add(remove_task(moved("a")));
    folder().items[0].attempt = 0;
    expect_left_to_user();
    // Nor is another one looked for where that is away again.
    stored("a");
    Task copy = item_task(Action::unlink, "a", {"nowhere", "v1"});
    copy.copy = true;
    conversation.add(std::move(copy));
    EXPECT_EQ(run(), 1);
    EXPECT_EQ(folder().items.size(), 2u);
}

TEST_F(Astray, IsGoneWhenItIsNotListedEither) {
    conversation.add(remove_task());
    next<exchange::DeleteItems>();
    answer(execute());
    EXPECT_TRUE(outcomes().empty());
    next<exchange::ListStamps>();
    answer(execute());
    expect(Result::removed, false);
    EXPECT_FALSE(conversation.has_work());
}

TEST_F(Astray, IsNotLookedForAgain) {
    ours("a");
    conversation.add(remove_task());
    next<exchange::DeleteItems>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::GetItems>();
    exchange::Answer gone;
    gone.items.emplace_back().failure = item_failure(Disposition::item_gone, "ErrorItemNotFound");
    answer(gone);
    expect(Result::removed, true);
    EXPECT_FALSE(conversation.has_work()) << "a server may list what it does not have";
}

TEST_F(Astray, DoesNotMakeACreateBlind) {
    conversation.add(remove_task());
    run();
    outcomes();
    stored("b");
    conversation.add(create_task(prefix, "b"));
    run();
    EXPECT_EQ(folder().items.size(), 1u) << "others were not reported";
}

TEST_F(Astray, IsFoundByTheListThatACreateNeeds) {
    const auto reference = moved("a");
    stored("c");
    conversation.add(remove_task(reference));
    next<exchange::DeleteItems>();
    answer(execute());
    conversation.add(create_task(prefix, "b"));
    run();
    EXPECT_EQ(doubts(), std::vector{false});
    std::vector<std::string> done;
    for (const Outcome& outcome : outcomes()) {
        done.push_back(outcome.record);
    }
    EXPECT_EQ(done, (std::vector<std::string>{"c", "b", "a"}));
    EXPECT_EQ(folder().items.size(), 2u);
}

TEST_F(Astray, IsNotLookedForInAFolderThatIsNotThere) {
    conversation.add(remove_task());
    next<exchange::DeleteItems>();
    answer(execute());
    MailboxDescription elsewhere = description();
    elsewhere.folder_name = "CRM";
    conversation.redescribe(elsewhere);
    next<exchange::FindFolder>();
    answer({});
    expect(Result::removed, false);
    EXPECT_FALSE(conversation.has_work());
}

TEST_F(Astray, IsGivenBackWithTheRest) {
    conversation.add(remove_task());
    next<exchange::DeleteItems>();
    answer(execute());
    conversation.drop(Result::released, {});
    expect(Result::released, false);
    EXPECT_FALSE(conversation.has_work());
}

TEST_F(Astray, WaitsForAllElse) {
    Task urgent = remove_task();
    urgent.fresh = true;
    conversation.add(std::move(urgent));
    next<exchange::DeleteItems>();
    answer(execute());
    conversation.add(update_task(prefix, "b", stored("b"), "Other"));
    next<exchange::UpdateItems>();
    answer(execute());
    next<exchange::ListStamps>();
}

TEST_F(Astray, IsGivenUpWhereTheFolderCannotBeListed) {
    conversation.add(remove_task());
    const int requests = run_failing_lists();
    EXPECT_LT(requests, 10);
    expect(Result::removed, false);
    EXPECT_FALSE(conversation.has_work());
}

// A copy bears the stamp of its original, which stays; what reading names comes in; and what undo
// has made is nobody's but its user's.
TEST_F(Astray, IsNotWhatIsNoItemOfOurs) {
    for (const bool surplus : {true, false}) {
        stored("a");
        Task task = remove_task();
        task.surplus = surplus;
        task.undo = surplus ? UndoStep::none : UndoStep::unlink;
        conversation.add(std::move(task));
        EXPECT_EQ(run(), 1);
        expect(Result::removed, false);
    }
    MailboxDescription inbound = description();
    inbound.inbound = true;
    conversation.redescribe(inbound);
    conversation.add(remove_task());
    EXPECT_EQ(run(), 1);
    expect(Result::removed, false);
}

// It would move what has yet to be listed, which looks as if somebody had changed the folder.
TEST_F(Astray, NothingGoesWhileStampsAreListed) {
    for (int i = 0; i < 7; ++i) {
        stored("old" + std::to_string(i));
    }
    const auto reference = stored("a");
    const auto other = stored("b");
    // That it is not there makes the list doubtful.
    conversation.add(item_task(Action::remove, "z", {"nowhere", "v1"}));
    run();
    outcomes();
    conversation.add(create_task(prefix, "new"));
    next<exchange::ListStamps>();
    answer(execute());
    for (Task urgent : {remove_task(reference), item_task(Action::unlink, "b", other)}) {
        urgent.fresh = true;
        conversation.add(std::move(urgent));
    }
    while (std::holds_alternative<exchange::ListStamps>(operation = conversation.next(50))) {
        EXPECT_EQ(answer(execute()), std::nullopt);
    }
    EXPECT_TRUE(std::holds_alternative<exchange::RemoveStamps>(operation)) << operation.index();
    answer(execute());
    next<exchange::DeleteItems>();
    answer(execute());
    next<exchange::CreateItems>();
    answer(execute());
    EXPECT_FALSE(conversation.has_work());
}

}  // namespace
}  // namespace crmsync::sync
