// Access that is denied: to one item, or to the mailbox.
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
using test::lost_answer;
using test::OneMailbox;
using test::prefix;
using test::update_task;

exchange::Answer denied(std::size_t items) {
    exchange::Answer answer;
    answer.items.resize(items);
    for (exchange::ItemAnswer& item : answer.items) {
        item.failure = item_failure(Disposition::mailbox_disabled, "ErrorAccessDenied");
    }
    return answer;
}

// One that its user has made, say, where we may change our own only.
TEST_F(OneMailbox, WhatIsDeniedForOneItemOnlyIsThatItemsFailure) {
    for (const char* key : {"a", "b"}) {
        conversation.add(update_task(prefix, key, stored(key, "old")));
    }
    next<exchange::UpdateItems>();
    exchange::Answer mixed = execute();
    mixed.items[1].failure = item_failure(Disposition::mailbox_disabled, "ErrorAccessDenied");
    EXPECT_FALSE(answer(mixed));
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[1].result, Result::failed);
    EXPECT_TRUE(conversation.changes().empty());
}

TEST_F(OneMailbox, WhatIsDeniedWaitsForWhatElseIsToBeWritten) {
    const auto is_denied = [](const exchange::Operation& request) {
        const auto* create = std::get_if<exchange::CreateItems>(&request);
        const auto* update = std::get_if<exchange::UpdateItems>(&request);
        return create != nullptr ? create->items.size()
               : update != nullptr && update->items.front().fields.front().value == "denied"
                   ? update->items.size()
                   : 0;
    };
    for (const char* key : {"a", "b", "c", "d", "e"}) {
        conversation.add(create_task(prefix, key));
    }
    for (const char* key : {"f", "g", "h", "i", "j"}) {
        Task task = update_task(prefix, key, stored(key, "old"));
        task.fields.front().value = "denied";
        conversation.add(task);
    }
    Task last = update_task(prefix, "z", stored("z", "old"));
    conversation.add(last);
    for (int requests = 0; conversation.has_work() && requests < 50; ++requests) {
        operation = conversation.next(5);
        const std::size_t items = is_denied(operation);
        EXPECT_FALSE(answer(items > 0 ? denied(items) : execute()));
    }
    std::map<std::string, Result> results;
    for (const Outcome& outcome : outcomes()) {
        if (!comes_unasked(outcome.result)) {
            results.emplace(outcome.record, outcome.result);
        }
    }
    EXPECT_EQ(results.size(), 11u);
    for (const auto& [record, result] : results) {
        EXPECT_EQ(result, record == "z" ? Result::written : Result::failed) << record;
    }
    EXPECT_FALSE(conversation.has_work());
    EXPECT_EQ(conversation.not_before(), Clock::time_point{}) << "the mailbox is well";
}

TEST_F(OneMailbox, WhatIsNotKnownAndDeniedWaitsForWhatElseIsToBeWritten) {
    for (const char* key : {"f", "g", "h", "i", "j"}) {
        Task task = update_task(prefix, key, stored(key, "old"));
        task.before.clear();
        conversation.add(task);
    }
    conversation.add(update_task(prefix, "z", stored("z", "old")));
    for (int requests = 0; conversation.has_work() && requests < 50; ++requests) {
        operation = conversation.next(50);
        const auto* get = std::get_if<exchange::GetItems>(&operation);
        EXPECT_FALSE(answer(get != nullptr ? denied(get->ids.size()) : execute()));
    }
    for (const Outcome& outcome : outcomes()) {
        EXPECT_EQ(outcome.result, outcome.record == "z" ? Result::written : Result::failed)
            << outcome.record;
    }
    EXPECT_EQ(conversation.not_before(), Clock::time_point{}) << "the mailbox is well";
}

TEST_F(OneMailbox, WhatIsDeniedForOneThatIsAloneIsItsFailureIfTheMailboxAnswers) {
    conversation.add(update_task(prefix, "a", stored("a", "old")));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(denied(1)));
    next<exchange::FindFolder>();
    EXPECT_FALSE(answer(execute()));
    conversation.changes().clear();  // that it was found
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(denied(1)));
    EXPECT_EQ(outcomes().at(0).result, Result::failed);
    EXPECT_TRUE(conversation.changes().empty());

    conversation.add(update_task(prefix, "b", stored("b", "old")));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(denied(1)));
    next<exchange::LocateFolder>();
    EXPECT_FALSE(answer(failed(item_failure(Disposition::mailbox_disabled, "ErrorAccessDenied"))));
    EXPECT_EQ(outcomes().at(0).result, Result::postponed);
    EXPECT_TRUE(conversation.changes().at(0).disabled);
}

TEST_F(OneMailbox, WhatIsDeniedTwiceIsGivenUpWhateverWentWellInBetween) {
    conversation.add(update_task(prefix, "a", stored("a", "old")));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(denied(1)));
    next<exchange::FindFolder>();
    EXPECT_FALSE(answer(execute()));
    Task other = update_task(prefix, "b", stored("b", "old"));
    other.fresh = true;
    conversation.add(other);
    EXPECT_EQ(next<exchange::UpdateItems>().items.size(), 1u);
    EXPECT_FALSE(answer(execute()));
    EXPECT_EQ(outcomes().at(0).record, "b");
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(denied(1)));
    EXPECT_EQ(outcomes().at(0).result, Result::failed);
}

TEST_F(OneMailbox, AMailboxThatMayOnlyBeReadIsFoundOut) {
    const auto add = [&](int count) {
        for (int i = 0; i < count; ++i) {
            conversation.add(update_task(prefix, "a", stored("a", "old")));
        }
    };
    const auto deny_all = [&] {
        int requests = 0;
        while (conversation.has_work() && requests < 100) {
            operation = conversation.next(50);
            const auto* update = std::get_if<exchange::UpdateItems>(&operation);
            requests += update != nullptr ? 1 : 0;
            EXPECT_FALSE(answer(update != nullptr ? denied(update->items.size()) : execute()));
        }
        return requests;
    };
    const auto postponed = [&] {
        const auto all = outcomes();
        return std::count_if(all.begin(), all.end(), [](const Outcome& outcome) {
            return outcome.result == Result::postponed;
        });
    };
    add(1);
    EXPECT_EQ(deny_all(), 2);
    EXPECT_EQ(postponed(), 0);
    add(40);
    EXPECT_EQ(deny_all(), 2) << "all of them at once";
    EXPECT_EQ(postponed(), 40);
    add(1000);
    EXPECT_EQ(deny_all(), 7) << "and of thousands few";
    EXPECT_EQ(postponed(), 1000);

    for (int i = 0; i < 3; ++i) {
        add(1);
        EXPECT_EQ(deny_all(), 2);
    }
    EXPECT_EQ(postponed(), 0);
    conversation.changes().clear();
    add(1);
    EXPECT_EQ(deny_all(), 1) << "one after the other";
    EXPECT_EQ(postponed(), 1);
    EXPECT_TRUE(conversation.changes().at(0).disabled);
}

TEST_F(OneMailbox, WhatIsDeniedInAFolderThatItsUserHasDeletedIsNotWrittenThere) {
    MailboxDescription named = description();
    named.folder_name = "CRM";
    conversation = Conversation(named);
    conversation.add(create_task(prefix, "a"));
    run();
    const exchange::ItemReference item = outcomes().at(0).item;
    server.bin_folder("a@example.com", "CRM");
    conversation.add(update_task(prefix, "a", item, "New"));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(denied(1)));
    next<exchange::LocateFolder>();
    answer(execute());
    run();
    auto& user = server.mailbox("a@example.com");
    EXPECT_EQ(user.folders.at("CRM").items.size(), 1u);
    EXPECT_EQ(user.deleted.at(0).items.at(0).values.at("company"), "Acme");
}

TEST_F(OneMailbox, ANewItemThatWasDeniedIsNotMadeWhereAListShowsIt) {
    conversation.add(create_task(prefix, "a"));
    conversation.add(create_task(prefix, "b"));
    next<exchange::FindFolder>(1);
    answer(execute());
    next<exchange::ListStamps>(1);
    answer(execute());
    next<exchange::CreateItems>(1);
    EXPECT_FALSE(answer(denied(1)));
    next<exchange::LocateFolder>(1);
    answer(execute());
    next<exchange::CreateItems>(1);
    answer(failed(lost_answer()));
    stored("a");  // its user has brought it back
    run();
    EXPECT_TRUE(server.duplicates().empty());
}

TEST_F(OneMailbox, NewItemsThatAreDeniedAreTheMailboxesMatterIfThereAreMany) {
    for (const auto& [count, expected] :
         {std::pair(1, Result::failed), std::pair(3, Result::failed),
          std::pair(4, Result::postponed)}) {
        for (int i = 0; i < count; ++i) {
            conversation.add(create_task(prefix, "new" + std::to_string(i)));
        }
        for (int requests = 0; conversation.has_work() && requests < 20; ++requests) {
            operation = conversation.next(50);
            const auto* create = std::get_if<exchange::CreateItems>(&operation);
            EXPECT_FALSE(answer(create != nullptr ? denied(create->items.size()) : execute()));
        }
        for (const Outcome& outcome : outcomes()) {
            EXPECT_EQ(outcome.result, expected) << count;
        }
    }
}

}  // namespace
}  // namespace crmsync::sync
