// A mailbox that is read: pages of what changed in its folder, and items fetched.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

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
using test::prefix;
using test::update_task;

class Reading : public test::OneMailbox {
  protected:
    Reading() {
        server.mailbox("a@example.com");
        MailboxDescription inbound = description();
        inbound.inbound = true;
        conversation.redescribe(inbound);
    }

    // Lists until the page that says that it is the last.
    std::vector<FolderPage> list(std::string state) {
        std::vector<FolderPage> all;
        do {
            conversation.list_changes(std::move(state));
            run();
            for (FolderPage& page : std::exchange(conversation.pages(), {})) {
                all.push_back(std::move(page));
            }
            state = all.back().state;
        } while (!all.back().complete);
        return all;
    }

    static std::set<std::string> ids(const std::vector<FolderPage>& pages, bool gone) {
        std::set<std::string> all;
        for (const FolderPage& page : pages) {
            for (const exchange::FolderChange& change : page.changes) {
                if (change.gone == gone) {
                    all.insert(change.item.id);
                }
            }
        }
        return all;
    }

    Task fetch(const exchange::ItemReference& item) {
        Task task = item_task(Action::fetch, "", item);
        task.rules = test::desired(prefix, "", "Acme")->rules;
        return task;
    }
};

TEST_F(Reading, ListsAllPagesAndThenWhatChanged) {
    std::vector<exchange::ItemReference> items;
    for (int i = 0; i < 7; ++i) {
        items.push_back(stored("old" + std::to_string(i)));
    }
    const auto first = list("");
    EXPECT_EQ(first.size(), 3u);
    EXPECT_TRUE(first.front().from_start);
    EXPECT_FALSE(first.back().from_start);
    EXPECT_EQ(ids(first, false).size(), 7u);
    EXPECT_TRUE(ids(first, true).empty());

    server.change(*server.item_by_id("a@example.com", items[2].id));
    std::erase_if(folder().items, [&](const auto& item) { return item.id == items[4].id; });
    const auto then = list(first.back().state);
    EXPECT_EQ(ids(then, false), std::set{items[2].id});
    EXPECT_EQ(ids(then, true), std::set{items[4].id});
    EXPECT_TRUE(list(then.back().state).back().changes.empty());
}

TEST_F(Reading, AStateThatIsWorthlessIsForgottenAndLeadsToTheWholeFolder) {
    stored("a");
    const auto pages = list("of another day");
    ASSERT_EQ(pages.size(), 2u);
    EXPECT_TRUE(pages[0].listed && !pages[0].complete && !pages[0].from_start);
    EXPECT_EQ(pages[0].state, "");
    EXPECT_TRUE(pages[1].from_start);
    EXPECT_EQ(pages[1].changes.size(), 1u);
}

// Page after page, each of which is as good as any, and none is the last.
TEST_F(Reading, AServerThatRefusesEveryStateThatItHasGivenIsAskedLessAndLess) {
    for (int i = 0; i < 7; ++i) {
        stored(std::to_string(i));
    }
    const auto began = now;
    std::string state = "of another day";
    for (int page = 0; page < 20; ++page) {
        const auto pages = [&] {
            conversation.list_changes(state);
            run();
            return std::exchange(conversation.pages(), {});
        }();
        ASSERT_FALSE(pages.empty());
        state = pages.back().state;
        server.states.clear();
    }
    EXPECT_GT(now - began, std::chrono::minutes(5));
    ASSERT_FALSE(conversation.changes().empty());
    EXPECT_EQ(conversation.changes().back().failure->code, "ErrorInvalidSyncStateData");
}

// What a server says that has lost its mind.
TEST_F(Reading, AStateThatIsRefusedWhereNoneWasSentLosesNothing) {
    conversation.add(fetch(stored("a")));
    next<exchange::GetItems>();
    conversation.list_changes("of another day");
    answer(failed(item_failure(Disposition::resync, "ErrorInvalidSyncStateData")));
    run();
    ASSERT_EQ(outcomes().size(), 1u);
}

TEST_F(Reading, AFolderThatIsGoneIsFoundAgainAndReadWhole) {
    stored("a");
    const auto before = list("");
    server.remove_folder("a@example.com", "");
    server.mailbox("a@example.com").folders[""].id = server.new_id("folder");
    const auto item = stored("b");
    const auto pages = list(before.back().state);
    ASSERT_EQ(pages.size(), 1u);
    EXPECT_TRUE(pages[0].from_start);
    EXPECT_EQ(ids(pages, false), std::set{item.id});
}

TEST_F(Reading, ALostPageIsAskedForAgain) {
    stored("a");
    conversation.list_changes("");
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListChanges>();
    execute();
    answer(failed(lost_answer()));
    run();
    ASSERT_EQ(conversation.pages().size(), 1u);
    EXPECT_EQ(conversation.pages()[0].changes.size(), 1u);
}

TEST_F(Reading, PausesDoNotGrowWhereListsOrFetchesGoWellInBetween) {
    const auto item = stored("a");
    list("");
    for (int i = 0; i < 10; ++i) {
        const auto request = [&] {
            if (i % 2 == 0) {
                conversation.list_changes("");
            } else {
                conversation.add(fetch(item));
            }
            operation = conversation.next(50);
        };
        request();
        answer(failed(item_failure(Disposition::back_off, "ErrorADUnavailable")));
        EXPECT_LE(conversation.not_before() - now, std::chrono::seconds(1));
        run();
        EXPECT_FALSE(conversation.has_work());
    }
}

TEST_F(Reading, WhatIsGivenUpIsSaid) {
    conversation.list_changes("");
    conversation.drop(Result::released, lost_answer());
    EXPECT_FALSE(conversation.has_work());
    ASSERT_EQ(conversation.pages().size(), 1u);
    EXPECT_FALSE(conversation.pages()[0].listed);
}

TEST_F(Reading, FreshWritesGoFirstAndABacklogDoesNot) {
    stored("a");
    conversation.add(create_task(prefix, "backlog"));
    conversation.add(create_task(prefix, "fresh", "Acme", true));
    conversation.list_changes("");
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    EXPECT_EQ(next<exchange::CreateItems>(1).items[0].stamp, std::string(prefix) + "fresh");
    answer(execute());
    next<exchange::ListChanges>();
    answer(execute());
    EXPECT_EQ(next<exchange::CreateItems>(1).items[0].stamp, std::string(prefix) + "backlog");
}

TEST_F(Reading, FetchesWhatItemsHoldAndSaysWhichAreGone) {
    const auto there = stored("a", "Initech");
    conversation.add(fetch(there));
    conversation.add(fetch({"nowhere", ""}));
    run();
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].result, Result::fetched);
    EXPECT_EQ(all[0].held.item.change_key, there.change_key);
    EXPECT_EQ(all[0].held.stamp, std::string(prefix) + "a");
    EXPECT_EQ(all[0].held.values[0], "Initech");
    EXPECT_EQ(all[1].result, Result::removed);
    EXPECT_EQ(all[1].item.id, "nowhere");
}

TEST_F(Reading, AnItemThatItsUserChangedIsNotOverwritten) {
    const auto item = stored("a");
    test::StoredItem& held = *server.item_by_id("a@example.com", item.id);
    held.values["company"] = "Initech";
    server.change(held);
    conversation.add(update_task(prefix, "a", item, "Globex"));
    run();
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::overtaken);
    EXPECT_EQ(all[0].record, "a");
    EXPECT_EQ(all[0].held.values[0], "Initech");
    EXPECT_EQ(held.values["company"], "Initech");
}

TEST_F(Reading, AnItemOfWhichOnlyTheChangeKeyIsAnotherIsWritten) {
    Task task = update_task(prefix, "a", stored("a"), "Globex");
    task.before = {"Acme"};
    server.change(folder().items.at(0));
    conversation.add(task);
    run();
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(folder().items.at(0).values["company"], "Globex");
}

// Of our own update no answer came: what the CRM changes next is no conflict with it.
TEST_F(Reading, AnItemThatHoldsWhatWasToBeWrittenIsWritten) {
    Task task = update_task(prefix, "a", stored("a"), "Globex");
    task.before = {"Acme"};
    conversation.add(task);
    next<exchange::UpdateItems>();
    execute();
    answer(failed(lost_answer()));
    run();
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(all[0].item.change_key, folder().items.at(0).change_key());
    EXPECT_EQ(all[0].agreed.value_or(all[0].desired->values)[0], "Globex");
    EXPECT_TRUE(all[0].conflicts.empty());
}

// Also where it holds something else than the CRM, which stays in the mailbox and has been seen.
TEST_F(Reading, AnItemThatIsRefusedAsIfItHadChangedIsGivenUp) {
    Task task = update_task(prefix, "a", stored("a", "Initech"), "Globex");
    task.before = {"Acme"};
    conversation.add(task);
    const int requests = run_failing<exchange::UpdateItems>(
        item_failure(Disposition::reread, "ErrorIrresolvableConflict"));
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::failed);
    EXPECT_EQ(all[0].failure.code, "ErrorIrresolvableConflict");
    EXPECT_LT(requests, 12);
}

TEST_F(Reading, AnItemThatIsMetIsNotOverwritten) {
    const auto item = stored("a", "Initech");
    Task unknown = update_task(prefix, "a", item, "Globex");
    unknown.before.clear();
    for (const Task& task : {create_task(prefix, "a", "Globex"),
                             update_task(prefix, "a", {"moved", "v1"}, "Globex"), unknown}) {
        conversation.add(task);
        run();
        const auto all = outcomes();
        ASSERT_EQ(all.size(), 1u);
        ASSERT_EQ(all[0].result, Result::overtaken);
        EXPECT_EQ(all[0].item.id, item.id);
        EXPECT_EQ(all[0].held.values[0], "Initech");
        EXPECT_EQ(folder().items.at(0).values["company"], "Initech");
    }
}

}  // namespace
}  // namespace crmsync::sync
