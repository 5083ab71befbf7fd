// The folder of a mailbox: missing, gone, deleted by its user, or another one.
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
using test::OneMailbox;
using test::prefix;
using test::update_task;
using namespace std::chrono_literals;

TEST_F(OneMailbox, AFolderThatIsMissingIsCreatedAndOneThatGoesIsCreatedAgain) {
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation.redescribe(named);
    conversation.add(create_task(prefix, "a"));
    EXPECT_EQ(next<exchange::FindFolder>().name, "CRM");
    answer(execute());
    next<exchange::CreateFolder>();
    answer(execute());
    run();
    EXPECT_FALSE(conversation.changes().at(0).folder_id.empty());
    server.remove_folder("a@example.com", "CRM");
    conversation.changes().clear();
    conversation.add(create_task(prefix, "b"));
    run();
    EXPECT_EQ(server.mailbox("a@example.com").folders.at("CRM").items.size(), 1u);
    ASSERT_GE(conversation.changes().size(), 2u);
    EXPECT_TRUE(conversation.changes().front().folder_id.empty());
    EXPECT_FALSE(conversation.changes().back().folder_id.empty());
}

// It keeps its id there, and takes what is written; nothing of it is kept for long.
TEST_F(OneMailbox, AFolderThatItsUserHasDeletedIsLeft) {
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation = Conversation(named);
    conversation.add(create_task(prefix, "a"));
    run();
    const auto item = outcomes().at(0).item;
    const std::string deleted = server.mailbox("a@example.com").folders.at("CRM").id;
    server.bin_folder("a@example.com", "CRM");
    conversation.changes().clear();

    const auto look = [&] {
        now += 5h;
        conversation.locate_folder(now);
        conversation.add(create_task(prefix, "b"));
        next<exchange::LocateFolder>();
    };
    conversation.add(update_task(prefix, "a", item, "New"));
    look();
    answer(execute());
    ASSERT_EQ(conversation.changes().size(), 1u);
    EXPECT_EQ(conversation.changes()[0].folder_id, "");
    EXPECT_EQ(conversation.changes()[0].deleted_folder, deleted);
    run();
    EXPECT_EQ(server.mailbox("a@example.com").folders.at("CRM").items.size(), 2u);
    EXPECT_EQ(server.mailbox("a@example.com").deleted.at(0).items.at(0).values.at("company"),
              "Acme")
        << "nothing is written there";
    outcomes();
    Task fetch = item_task(Action::fetch, "a", item);
    fetch.rules = test::desired(prefix, "a", "")->rules;
    conversation.add(std::move(fetch));
    conversation.locate_folder(now);
    next<exchange::GetItems>();
    answer(execute());
    EXPECT_EQ(outcomes().at(0).result, Result::removed);

    look();
    answer(execute());
    EXPECT_TRUE(conversation.changes().back().folder_id != "") << "it is where it belongs";
}

TEST_F(OneMailbox, AFolderThatItsUserHasDeletedWithTheOneAboveItIsLeft) {
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation = Conversation(named);
    conversation.add(create_task(prefix, "a"));
    run();
    test::StoredMailbox& user = server.mailbox("a@example.com");
    const std::string id = user.folders.at("CRM").id;
    const auto look = [&] {
        now += 5h;
        conversation.locate_folder(now);
        conversation.add(update_task(prefix, "a", outcomes().at(0).item, "New"));
        next<exchange::LocateFolder>();
        answer(execute());
    };
    user.moved.insert(id);
    look();
    next<exchange::SearchDeleted>();
    answer(execute());
    run();
    EXPECT_EQ(user.folders.at("CRM").items.at(0).values.at("company"), "New") << "only moved";

    conversation.changes().clear();
    for (const Disposition disposition :
         {Disposition::mailbox_disabled, Disposition::folder_gone, Disposition::bisect}) {
        look();
        next<exchange::SearchDeleted>();
        EXPECT_FALSE(answer(failed(item_failure(disposition, "ErrorTheirs"))));
        EXPECT_LE(conversation.not_before(), now);
        next<exchange::UpdateItems>();
        answer(execute());
        EXPECT_TRUE(conversation.changes().empty()) << "a search that fails stops nothing";
    }

    server.bin_folder("a@example.com", "CRM");
    look();
    next<exchange::SearchDeleted>();
    answer(execute());
    EXPECT_EQ(conversation.changes().back().deleted_folder, id);
    run();
    EXPECT_EQ(user.folders.at("CRM").items.size(), 1u) << "in a new one";
}

TEST_F(OneMailbox, AFolderThatGoesWhileItIsListedLeavesNothingBehind) {
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation.redescribe(named);
    auto& crm = server.mailbox("a@example.com").folders["CRM"];
    crm.id = "first";
    for (int i = 0; i < 5; ++i) {
        crm.items.push_back({"item" + std::to_string(i), 1, prefix + std::to_string(i), {}});
    }
    conversation.add(create_task(prefix, "0"));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    server.remove_folder("a@example.com", "CRM");
    run();
    for (const Outcome& outcome : outcomes()) {
        EXPECT_NE(outcome.result, Result::found) << outcome.record;
    }
    EXPECT_EQ(server.mailbox("a@example.com").folders.at("CRM").items.size(), 1u);
}

TEST_F(OneMailbox, AFolderThatCanNeitherBeFoundNorCreatedIsNotHammeredAt) {
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation.redescribe(named);
    conversation.add(create_task(prefix, "a"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 50);
        now = std::max(now, conversation.not_before());
        operation = conversation.next(50);
        const bool find = std::holds_alternative<exchange::FindFolder>(operation);
        conversation.answer(
            find ? exchange::Answer{}
                 : failed(item_failure(Disposition::folder_gone, "ErrorFolderExists")),
            now);
    }
    EXPECT_EQ(outcomes().at(0).result, Result::postponed);
}

TEST_F(OneMailbox, AFolderThatNeverTakesItemsIsNotHammeredAt) {
    conversation.add(create_task(prefix, "a"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 60);
        now = std::max(now, conversation.not_before());
        operation = conversation.next(50);
        if (std::holds_alternative<exchange::CreateItems>(operation)) {
            conversation.answer(
                failed(item_failure(Disposition::folder_gone, "ErrorFolderNotFound")), now);
        } else {
            conversation.answer(execute(), now);
        }
    }
    EXPECT_EQ(outcomes().at(0).result, Result::postponed);
}

TEST_F(OneMailbox, AnotherFolderNameIsLookedForAndItsPagesAreNotMixedUp) {
    for (int i = 0; i < 5; ++i) {
        stored(std::to_string(i));
    }
    conversation.add(create_task(prefix, "0"));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    exchange::Answer late = execute();
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation.redescribe(named);
    answer(late);
    EXPECT_EQ(next<exchange::FindFolder>().name, "CRM");
    answer(execute());
    run();
    EXPECT_EQ(server.mailbox("a@example.com").folders.at("CRM").items.size(), 1u);
}

}  // namespace
}  // namespace crmsync::sync
