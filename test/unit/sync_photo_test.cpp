// Photos, which are written after the rest of their items, request by request.
#include <gtest/gtest.h>

#include "record/content.h"
#include "sync_one_mailbox.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using test::company;
using test::failed;
using test::item_failure;
using test::lost_answer;
using test::prefix;

const std::string old_photo = "/9j/4G9sZA==";
const std::string new_photo = "/9j/4G5ldw==";
const std::string their_photo = "/9j/4HRoZWlycw==";

const record::Property* photo() {
    return record::find_property("photo", record::Object::contact);
}

class Photos : public test::OneMailbox {
  protected:
    // What the CRM wants: a company and a photo; none: an empty one.
    static std::shared_ptr<const Desired> desired(const std::string& key, const std::string& name,
                                                  const std::string& content) {
        auto wanted = std::make_shared<Desired>(*test::desired(prefix, key, name));
        wanted->values = {name, content.empty() ? record::Value() : record::describe(content)};
        wanted->all = record::fields_to_create(record::Object::contact, rules()->layout,
                                               rules()->fields, wanted->values);
        wanted->rules = rules();
        return wanted;
    }
    static std::shared_ptr<const Rules> rules() {
        static const auto rules = std::make_shared<const Rules>(
            Rules{record::Object::contact, {}, true, {company(), photo()}, record::Policies(2)});
        return rules;
    }

    static Task create(const std::string& key, const std::string& content) {
        Task task{};
        task.action = Action::create;
        task.record = key;
        task.desired = desired(key, "Acme", content);
        return task;
    }

    // From what was agreed on to what the CRM wants.
    static Task update(const std::string& key, const exchange::ItemReference& item,
                       const std::string& name, const std::string& before,
                       const std::string& after) {
        Task task{};
        task.action = Action::update;
        task.record = key;
        task.item = item;
        task.desired = desired(key, name, after);
        const record::Values agreed = desired(key, "Acme", before)->values;
        task.fields = record::fields_to_update(record::Object::contact, rules()->layout,
                                               rules()->fields, task.desired->values, agreed);
        for (const record::Field& field : task.fields) {
            const auto place = record::place_of(rules()->layout, field.property);
            task.before.push_back(place ? agreed[*place] : record::Value());
        }
        return task;
    }

    exchange::ItemReference with_photo(const std::string& key, const std::string& content) {
        stored(key);
        item().photos.push_back({server.new_id("photo"), content});
        return {item().id, item().change_key()};
    }
    test::StoredItem& item() { return folder().items.back(); }

    // Gives what was asked for.
    std::size_t supply() {
        const auto wanted = std::exchange(conversation.wanted(), {});
        for (const WantedContent& one : wanted) {
            record::Content content;
            for (const std::string& known : {old_photo, new_photo, their_photo}) {
                if (record::describe(known) == one.description) {
                    content = std::make_shared<const std::string>(known);
                }
            }
            conversation.supply(one, content, std::nullopt);
        }
        return wanted.size();
    }
    // Lets the server do all there is to do, and gives all that is asked for.
    int run_all(std::size_t limit = 50) {
        int requests = 0;
        do {
            requests += run(limit);
        } while (supply() > 0);
        return requests;
    }
    void expect_photo(const std::string& content) {
        ASSERT_EQ(item().photos.size(), content.empty() ? 0u : 1u);
        if (!content.empty()) {
            EXPECT_EQ(item().photos[0].content, content);
        }
    }
    Outcome only_outcome() {
        const auto all = outcomes();
        EXPECT_EQ(all.size(), 1u);
        return all.empty() ? Outcome{} : all.back();
    }
};

TEST_F(Photos, AreMadeAfterTheirItems) {
    conversation.add(create("a", new_photo));
    conversation.add(create("b", ""));
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    EXPECT_EQ(next<exchange::CreateItems>().items.size(), 2u);
    answer(execute());
    EXPECT_EQ(only_outcome().record, "b") << "it has no photo, and is done";
    EXPECT_FALSE(conversation.has_work()) << "the content was not given yet";
    EXPECT_EQ(conversation.unfinished(), 1u);
    EXPECT_EQ(supply(), 1u);
    const auto made = next<exchange::CreateAttachment>();
    EXPECT_EQ(made.item.id, folder().items[0].id);
    EXPECT_EQ(made.content_type, "image/jpeg");
    answer(execute());
    const Outcome outcome = only_outcome();
    EXPECT_EQ(outcome.result, Result::written);
    EXPECT_EQ(outcome.action, Action::create);
    EXPECT_EQ(outcome.item.change_key, folder().items[0].change_key());
    EXPECT_EQ(folder().items[0].photos.at(0).content, new_photo);
    EXPECT_FALSE(conversation.has_work());
}

TEST_F(Photos, ItemsWithoutCostNoFurtherRequest) {
    for (int i = 0; i < 10; ++i) {
        conversation.add(create(std::to_string(i), ""));
    }
    EXPECT_EQ(run_all(), 3) << "the folder, its stamps, and the items";
    conversation.add(update("0", {folder().items[0].id, "v1"}, "Other", "", ""));
    EXPECT_EQ(run_all(), 1);
}

TEST_F(Photos, TwoAreInMemoryHoweverManyWait) {
    for (int i = 0; i < 5; ++i) {
        conversation.add(create(std::to_string(i), new_photo));
    }
    run();
    for (int i = 0; i < 5; ++i) {
        EXPECT_LE(conversation.wanted().size(), 1u);
        supply();
        EXPECT_TRUE(conversation.wanted().empty());
        next<exchange::CreateAttachment>();
        EXPECT_EQ(conversation.wanted().size(), i < 4 ? 1u : 0u) << "the next, while one is sent";
        supply();
        answer(execute());
    }
    EXPECT_EQ(outcomes().size(), 5u);
}

TEST_F(Photos, AreReplacedWhereTheyDiffer) {
    const auto reference = with_photo("a", old_photo);
    conversation.add(update("a", reference, "Other", old_photo, new_photo));
    next<exchange::GetItems>();
    answer(execute());
    EXPECT_EQ(next<exchange::GetAttachments>().attachments.size(), 1u);
    answer(execute());
    EXPECT_EQ(next<exchange::UpdateItems>().items[0].item.change_key, reference.change_key);
    answer(execute());
    EXPECT_FALSE(conversation.has_work()) << "nothing goes before what is to come is at hand";
    supply();
    next<exchange::DeleteAttachment>();
    answer(execute());
    next<exchange::CreateAttachment>();
    answer(execute());
    const Outcome outcome = only_outcome();
    EXPECT_EQ(outcome.result, Result::written);
    EXPECT_EQ(outcome.item.change_key, item().change_key());
    EXPECT_EQ(outcome.fields.size(), 3u) << "with what the contact is filed as";
    EXPECT_EQ(item().values["company"], "Other");
    expect_photo(new_photo);
}

TEST_F(Photos, ThatAreThereAlreadyAreNotWritten) {
    const auto reference = with_photo("a", new_photo);
    conversation.add(update("a", reference, "Acme", "", new_photo));
    EXPECT_EQ(run_all(), 2) << "the item, and its photo";
    EXPECT_EQ(only_outcome().result, Result::written);
    EXPECT_EQ(item().change_key(), reference.change_key);
}

TEST_F(Photos, AreRemoved) {
    conversation.add(update("a", with_photo("a", old_photo), "Acme", old_photo, ""));
    EXPECT_EQ(run_all(), 3);
    EXPECT_EQ(only_outcome().result, Result::written);
    expect_photo("");
}

TEST_F(Photos, OfWhichThereAreTwoBecomeOne) {
    const auto reference = with_photo("a", new_photo);
    item().photos.push_back({server.new_id("photo"), old_photo});
    conversation.add(update("a", reference, "Acme", old_photo, new_photo));
    run_all();
    EXPECT_EQ(only_outcome().result, Result::written);
    expect_photo(new_photo);
}

// Whichever answer is lost, and whether the request was carried out or not: nothing is doubled, nor
// taken for a change of its user's where those come in.
TEST_F(Photos, SurviveLostAnswers) {
    for (const bool inbound : {false, true}) {
        auto mailbox = description();
        mailbox.inbound = inbound;
        conversation = Conversation(mailbox);
        for (const bool carried_out : {true, false}) {
            for (int lost = 0; lost < 8; ++lost) {
                const std::string key =
                    std::to_string(lost) + (inbound ? "in" : "out") + (carried_out ? "y" : "n");
                conversation.add(
                    update(key, with_photo(key, old_photo), "Other", old_photo, new_photo));
                for (int request = 0; request < 30 && conversation.unfinished() > 0; ++request) {
                    supply();
                    now = std::max(now, conversation.not_before());
                    operation = conversation.next(50);
                    if (request != lost) {
                        answer(execute());
                    } else {
                        if (carried_out) {
                            execute();
                        }
                        answer(failed(lost_answer()));
                    }
                }
                EXPECT_EQ(only_outcome().result, Result::written) << key;
                EXPECT_EQ(item().values["company"], "Other") << key;
                expect_photo(new_photo);
            }
        }
    }
}

TEST_F(Photos, OfItemsThatWereMadeAndForgotten) {
    conversation.add(create("a", new_photo));
    run();
    supply();
    next<exchange::CreateAttachment>();
    // The worker is killed: another one meets the item, with or without the photo.
    for (const bool carried_out : {false, true}) {
        if (carried_out) {
            execute();
        }
        conversation = Conversation(description());
        conversation.add(create("a", new_photo));
        run_all();
        EXPECT_EQ(outcomes().back().result, Result::written);
        EXPECT_EQ(folder().items.size(), 1u);
        expect_photo(new_photo);
        item().photos.clear();
        operation = exchange::CreateAttachment{
            {item().id, {}}, "image/jpeg", std::make_shared<const std::string>(new_photo)};
    }
}

TEST_F(Photos, ThatAreRefusedLeaveTheRestWritten) {
    conversation.add(create("a", new_photo));
    conversation.add(create("b", new_photo));
    run();
    supply();
    for (const Disposition disposition : {Disposition::item_failed, Disposition::mailbox_full}) {
        next<exchange::CreateAttachment>();
        supply();
        exchange::Answer refused;
        refused.items.emplace_back().failure = item_failure(disposition, "ErrorTheirs");
        EXPECT_FALSE(answer(refused)) << "the target is well";
        const auto all = outcomes();
        ASSERT_EQ(all.size(), 2u);
        EXPECT_EQ(all[0].result, Result::partly);
        EXPECT_EQ(all[0].action, Action::create);
        EXPECT_FALSE(all[0].item.id.empty());
        EXPECT_EQ((*all[0].agreed)[0], "Acme");
        EXPECT_FALSE((*all[0].agreed)[1]);
        EXPECT_EQ(all[1].result, Result::failed);
        EXPECT_EQ(all[1].failure.code, "ErrorTheirs");
    }
    EXPECT_FALSE(conversation.has_work());
}

TEST_F(Photos, ThatAreDeniedAreAskedForAgainOnce) {
    conversation.add(update("a", stored("a"), "Acme", "", new_photo));
    exchange::Answer denied;
    denied.items.emplace_back().failure =
        item_failure(Disposition::mailbox_disabled, "ErrorAccessDenied");
    int attempts = 0;
    for (int request = 0; request < 30 && conversation.unfinished() > 0; ++request) {
        supply();
        operation = conversation.next(50);
        if (std::holds_alternative<exchange::CreateAttachment>(operation)) {
            ++attempts;
            EXPECT_FALSE(answer(denied));
        } else {
            EXPECT_FALSE(answer(execute()));
        }
    }
    EXPECT_EQ(attempts, 2) << "though its item can be read in between";
    EXPECT_EQ(only_outcome().result, Result::failed);
}

TEST_F(Photos, AnOldOneThatWentIsNoLongerAgreedOn) {
    Task task = update("a", with_photo("a", old_photo), "Acme", old_photo, new_photo);
    task.adopted = true;
    conversation.add(std::move(task));
    for (int i = 0; i < 2; ++i) {
        operation = conversation.next(50);
        answer(execute());
    }
    supply();
    next<exchange::DeleteAttachment>();
    answer(execute());
    next<exchange::CreateAttachment>();
    exchange::Answer refused;
    refused.items.emplace_back().failure = item_failure(Disposition::item_failed, "ErrorTheirs");
    answer(refused);
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_TRUE(all[0].adopted) << "it stays its user's";
    EXPECT_EQ(all[0].result, Result::partly);
    EXPECT_FALSE((*all[0].agreed)[1]);
    EXPECT_EQ(all[0].item.change_key, item().change_key());
}

TEST_F(Photos, OfWhichTheRecordHasAnotherByNowAreLookedAtAgain) {
    conversation.add(create("a", new_photo));
    run();
    ASSERT_EQ(conversation.wanted().size(), 1u);
    conversation.supply(conversation.wanted()[0], nullptr, std::nullopt);
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].result, Result::partly);
    EXPECT_EQ(all[1].result, Result::released);
}

TEST_F(Photos, ThatAUserHasChangedAreMerged) {
    const auto reference = with_photo("a", old_photo);
    item().photos[0] = {server.new_id("photo"), their_photo};
    server.change(item());
    conversation.add(update("a", reference, "Other", old_photo, old_photo));
    run_all();
    Outcome outcome = only_outcome();
    EXPECT_EQ(outcome.result, Result::written);
    expect_photo(their_photo);
    EXPECT_EQ((*outcome.agreed)[1], record::describe(old_photo)) << "an outbound link learns not";
    conversation.add(update("a", reference, "Other", old_photo, new_photo));
    run_all();
    outcome = only_outcome();
    EXPECT_EQ(outcome.result, Result::written);
    ASSERT_EQ(outcome.conflicts.size(), 1u);
    EXPECT_EQ(outcome.conflicts[0].target, record::describe(their_photo));
    expect_photo(new_photo);
}

TEST_F(Photos, ComeBackWithWhatIsFetched) {
    const auto one = with_photo("a", their_photo);
    const auto two = stored("b");
    for (const auto& [key, reference] : {std::pair{"a", one}, std::pair{"b", two}}) {
        Task task = test::item_task(Action::fetch, key, reference);
        task.rules = rules();
        conversation.add(task);
    }
    EXPECT_EQ(run_all(), 2);
    for (const Outcome& outcome : outcomes()) {
        EXPECT_EQ(outcome.result, Result::fetched);
        const bool has = outcome.record == "a";
        EXPECT_EQ(outcome.held.values[1], has ? record::describe(their_photo) : record::Value());
        EXPECT_EQ(outcome.held.content != nullptr, has);
    }
}

TEST_F(Photos, ThatAreTooLargeAreNotFetched) {
    stored("a");
    item().photos.push_back({server.new_id("photo"), std::string(2U << 20U, 'A')});
    Task task = test::item_task(Action::fetch, "a", {item().id, item().change_key()});
    task.rules = rules();
    conversation.add(task);
    EXPECT_EQ(run_all(), 1);
    const Outcome outcome = only_outcome();
    EXPECT_EQ(outcome.held.values[1], "unknown, 2097152 bytes");
    EXPECT_FALSE(outcome.held.content);
}

TEST_F(Photos, ThatAreGoneWhenTheyAreToBeReadAreLookedForAgain) {
    Task task = test::item_task(Action::fetch, "a", with_photo("a", old_photo));
    task.rules = rules();
    conversation.add(task);
    next<exchange::GetItems>();
    answer(execute());
    item().photos[0] = {server.new_id("photo"), their_photo};
    run_all();
    EXPECT_EQ(only_outcome().held.values[1], record::describe(their_photo));
}

TEST_F(Photos, ThatAreDamagedHoldUpNothingElse) {
    exchange::Failure failure = item_failure(Disposition::item_failed, "ErrorCorruptData");
    failure.damaged = true;
    const auto run_damaged = [&] {
        do {
            run_failing<exchange::GetAttachments>(failure);
        } while (supply() > 0);
    };
    const auto reference = with_photo("a", their_photo);
    Task fetch = test::item_task(Action::fetch, "a", reference);
    fetch.rules = rules();
    conversation.add(fetch);
    run_damaged();
    const Outcome fetched = only_outcome();
    ASSERT_EQ(fetched.result, Result::fetched);
    EXPECT_EQ(fetched.held.values[0], "Acme");
    EXPECT_EQ(fetched.held.unread, std::vector<std::size_t>{1});
    conversation.add(update("a", reference, "Other", old_photo, new_photo));
    run_damaged();
    EXPECT_EQ(only_outcome().result, Result::written);
    EXPECT_EQ(item().values["company"], "Other");
    expect_photo(new_photo);
    failure.damaged = false;
    const exchange::ItemReference now = {item().id, item().change_key()};
    conversation.add(update("a", now, "Acme", new_photo, ""));
    run_damaged();
    EXPECT_EQ(only_outcome().result, Result::failed) << "it may be read later";
    expect_photo(new_photo);
    failure.damaged = true;
    conversation.add(update("a", now, "Acme", new_photo, ""));
    run_damaged();
    EXPECT_EQ(only_outcome().result, Result::written);
    expect_photo("");
}

TEST_F(Photos, WhereMailboxesAreReadAChangeOfTheUsersComesInFirst) {
    auto both = description();
    both.inbound = true;
    conversation = Conversation(both);
    const auto reference = with_photo("a", old_photo);
    conversation.add(update("a", reference, "Acme", old_photo, new_photo));
    run_all();
    EXPECT_EQ(only_outcome().result, Result::written) << "nobody has changed it";
    expect_photo(new_photo);
    server.change(item());
    conversation.add(update("a", reference, "Acme", old_photo, their_photo));
    run_all();
    const Outcome outcome = only_outcome();
    EXPECT_EQ(outcome.result, Result::overtaken);
    EXPECT_EQ(*outcome.held.content, new_photo);
    expect_photo(new_photo);
}

}  // namespace
}  // namespace crmsync::sync
