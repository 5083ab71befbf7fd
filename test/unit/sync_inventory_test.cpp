// The inventory of a mailbox: every item of the link, page by page, kept by nobody.
#include <gtest/gtest.h>

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

class Inventory : public test::OneMailbox {
  protected:
    Inventory() { server.mailbox("a@example.com"); }

    std::vector<StampPage> pages() { return std::exchange(conversation.stamp_pages(), {}); }

    // 'RECORD ID' of what the pages name since the last one that was the first.
    std::set<std::string> sightings() {
        std::set<std::string> all;
        for (const StampPage& page : pages()) {
            if (page.from_start) {
                all.clear();
            }
            for (const StampPage::Sighting& sighting : page.sightings) {
                all.insert(sighting.record + " " + sighting.item.id);
            }
        }
        return all;
    }

    void begin() {
        conversation.take_inventory();
        next<exchange::FindFolder>();
        answer(execute());
        next<exchange::ListStamps>();
        answer(execute());
    }
};

TEST_F(Inventory, HasEveryItemOfTheLinkAlsoCopies) {
    std::set<std::string> expected;
    for (const char* key : {"a", "b", "c", "d", "e", "a", "b"}) {
        expected.insert(std::string(key) + " " + stored(key).id);
    }
    folder().items.emplace_back().id = server.new_id("item");
    auto& others = folder().items.emplace_back();
    others.id = server.new_id("item");
    others.stamp = "another/link/a";
    conversation.take_inventory();
    run();
    const auto all = pages();
    ASSERT_GT(all.size(), 1u);
    EXPECT_TRUE(all.front().from_start);
    EXPECT_TRUE(all.back().complete);
    EXPECT_FALSE(all.front().complete);
    conversation.take_inventory();
    run();
    EXPECT_EQ(sightings(), expected);
    EXPECT_FALSE(conversation.has_work());
    EXPECT_TRUE(conversation.outcomes().empty());
}

TEST_F(Inventory, OfAnEmptyFolderIsOneCompletePage) {
    conversation.take_inventory();
    run();
    const auto all = pages();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_TRUE(all[0].listed && all[0].from_start && all[0].complete);
}

TEST_F(Inventory, BeginsAnewWhenSomethingMayHaveBeenSkipped) {
    for (const char* key : {"a", "b", "c", "d", "e", "f"}) {
        stored(key);
    }
    begin();
    folder().items.erase(folder().items.begin(), folder().items.begin() + 3);
    run();
    const auto all = pages();
    EXPECT_TRUE(all.back().complete);
    EXPECT_EQ(
        std::count_if(all.begin(), all.end(), [](const auto& page) { return page.from_start; }), 2);
}

TEST_F(Inventory, OnceBegunIsNotMovedByOurOwnWrites) {
    for (const char* key : {"a", "b", "c", "d", "e"}) {
        stored(key);
    }
    begin();
    conversation.add(create_task(prefix, "new", "Acme", true));
    next<exchange::ListStamps>();
    answer(execute());
    run();
    EXPECT_TRUE(pages().back().complete);
    EXPECT_EQ(folder().items.size(), 6u);
}

TEST_F(Inventory, OfAFolderThatIsGoneIsOfItsSuccessor) {
    for (const char* key : {"a", "b", "c", "d"}) {
        stored(key);
    }
    begin();
    server.remove_folder("a@example.com", "");
    server.mailbox("a@example.com").folders[""].id = server.new_id("folder");
    const auto item = stored("z");
    run();
    EXPECT_EQ(sightings(), std::set<std::string>{"z " + item.id});
}

TEST_F(Inventory, ThatIsGivenUpIsSaid) {
    conversation.take_inventory();
    conversation.drop(Result::released, lost_answer());
    EXPECT_FALSE(conversation.has_work());
    const auto all = pages();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_FALSE(all[0].listed);
    EXPECT_FALSE(all[0].complete);
}

TEST_F(Inventory, ALateAnswerToOneThatWasGivenUpSaysNothing) {
    stored("a");
    conversation.take_inventory();
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    const auto late = execute();
    conversation.drop(Result::released, lost_answer());
    pages();
    answer(late);
    EXPECT_TRUE(pages().empty());
    EXPECT_TRUE(outcomes().empty());
}

TEST_F(Inventory, ALostPageIsAskedForAgain) {
    const auto item = stored("a");
    conversation.take_inventory();
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    execute();
    answer(failed(lost_answer()));
    run();
    EXPECT_EQ(sightings(), std::set<std::string>{"a " + item.id});
}

TEST_F(Inventory, RecordsWhoseStampsAreCutAreLeftOut) {
    auto& item = folder().items.emplace_back();
    item.id = server.new_id("item");
    item.stamp = std::string(prefix) + std::string(300, 'x');
    conversation.take_inventory();
    run();
    EXPECT_TRUE(sightings().empty());
}

}  // namespace
}  // namespace crmsync::sync
