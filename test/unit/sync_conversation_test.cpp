// One mailbox, request by request.
#include "sync/conversation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "sync_one_mailbox.h"

namespace crmsync::sync {
namespace {

using exchange::Disposition;
using exchange::Failure;
using exchange::Operation;
using exchange::Scope;
using test::create_task;
using test::failed;
using test::item_failure;
using test::item_task;
using test::lost_answer;
using test::OneMailbox;
using test::prefix;
using test::update_task;
using namespace std::chrono_literals;

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

TEST_F(OneMailbox, AnItemFailureParksThatItemOnly) {
    for (const char* key : {"a", "b", "c"}) {
        conversation.add(create_task(prefix, key));
    }
    next<exchange::FindFolder>();
    answer(execute());
    next<exchange::ListStamps>();
    answer(execute());
    next<exchange::CreateItems>();
    exchange::Answer mixed = execute();
    mixed.items[1].failure = item_failure(Disposition::item_failed, "ErrorPropertyUpdate");
    EXPECT_FALSE(answer(mixed)) << "the target is well";
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].result, Result::written);
    EXPECT_EQ(all[1].result, Result::failed);
    EXPECT_EQ(all[1].failure.code, "ErrorPropertyUpdate");
    EXPECT_EQ(all[2].result, Result::written);
    EXPECT_LE(conversation.not_before(), now);
}

// A server that refuses a whole batch because of what some items hold.
class Refusing : public OneMailbox {
  protected:
    exchange::Answer answer_of(exchange::Answer good) override {
        const auto* create = std::get_if<exchange::CreateItems>(&operation);
        if (create == nullptr) {
            return good;
        }
        const bool refused =
            std::any_of(create->items.begin(), create->items.end(),
                        [](const auto& item) { return item.fields.get()[0].value == "poison"; });
        if (!refused) {
            return good;
        }
        // Nothing was done.
        std::erase_if(folder().items, [&](const test::StoredItem& item) {
            return std::any_of(create->items.begin(), create->items.end(),
                               [&](const auto& one) { return one.stamp == item.stamp; });
        });
        return failed(refusal);
    }

    void expect_culprits(std::size_t count, const std::vector<int>& culprits) {
        for (std::size_t i = 0; i < count; ++i) {
            const bool bad = std::count(culprits.begin(), culprits.end(), static_cast<int>(i)) > 0;
            conversation.add(create_task(prefix, std::to_string(i), bad ? "poison" : "Acme"));
        }
        run();
        std::vector<int> failed_ones;
        std::size_t written = 0;
        for (const Outcome& outcome : outcomes()) {
            if (outcome.result == Result::failed) {
                failed_ones.push_back(std::stoi(outcome.record));
            } else if (outcome.result != Result::found) {
                EXPECT_EQ(outcome.result, Result::written);
                ++written;
            }
        }
        std::sort(failed_ones.begin(), failed_ones.end());
        EXPECT_EQ(failed_ones, culprits);
        EXPECT_EQ(written, count - culprits.size());
        EXPECT_EQ(folder().items.size(), written);
        EXPECT_TRUE(server.duplicates().empty());
    }

    Failure refusal = item_failure(Disposition::bisect, "ErrorSchemaValidation");
};

TEST_F(Refusing, OneCulpritIsFound) {
    expect_culprits(50, {17});
}

TEST_F(Refusing, ManyCulpritsAreFound) {
    expect_culprits(50, {0, 1, 24, 48, 49});
}

TEST_F(Refusing, NothingButCulprits) {
    expect_culprits(7, {0, 1, 2, 3, 4, 5, 6});
}

TEST_F(Refusing, TheBatchGrowsBackAfterwards) {
    expect_culprits(50, {3});
    int requests = 0;
    for (int i = 100; i < 300; ++i) {
        conversation.add(create_task(prefix, std::to_string(i)));
    }
    requests = run();
    EXPECT_LT(requests, 12);
}

TEST_F(Refusing, CulpritsOfAServerThatMayFailAtEverythingAreFoundToo) {
    refusal.scope = Scope::request;
    expect_culprits(100, {17, 18, 60});
}

TEST_F(Refusing, NothingButCulpritsOfSuchAServer) {
    refusal.scope = Scope::request;
    std::vector<int> all(20);
    std::iota(all.begin(), all.end(), 0);
    expect_culprits(20, all);
}

// Of one item or of all, which an update alone does not show.
TEST_F(OneMailbox, AServerThatFailsAtEverythingParksNothing) {
    Failure failure = item_failure(Disposition::bisect, "ErrorInternalServerError");
    failure.scope = Scope::request;
    for (const char* key : {"a", "b", "c"}) {
        conversation.add(update_task(prefix, key, stored(key, "old")));
    }
    conversation.next(50);
    EXPECT_FALSE(answer(failed(failure))) << "first it is divided";
    int troubles = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++troubles, 20);
        operation = conversation.next(50);
        exchange::Answer bad = failed(failure);
        if (std::holds_alternative<exchange::UpdateItems>(operation)) {
            bad = execute();
            bad.items.at(0).failure = failure;
            bad.items[0].failure->disposition = Disposition::item_failed;
        }
        const bool asks = !std::holds_alternative<exchange::UpdateItems>(operation);
        EXPECT_EQ(answer(std::move(bad)).has_value(), asks)
            << "its target is judged by it when nothing else is answered either";
    }
    for (const Outcome& outcome : outcomes()) {
        EXPECT_EQ(outcome.result, Result::postponed);
    }
    ASSERT_EQ(conversation.changes().size(), 1u);
    EXPECT_GT(conversation.changes()[0].retry_after, 15s);
}

TEST_F(OneMailbox, AnItemAloneIsParkedOnceTheMailboxHasAnswered) {
    Failure failure = item_failure(Disposition::bisect, "ErrorInternalServerError");
    failure.scope = Scope::request;
    conversation.add(update_task(prefix, "bad", stored("bad", "old")));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(failed(failure)));
    next<exchange::FindFolder>();
    EXPECT_FALSE(answer(execute()));
    next<exchange::UpdateItems>();
    EXPECT_FALSE(answer(failed(failure)));
    const auto all = outcomes();
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].result, Result::failed);
}

TEST_F(Refusing, ACulpritThatBreaksTheConnectionIsFoundToo) {
    refusal = lost_answer();
    expect_culprits(12, {5});
}

TEST_F(Refusing, ACulpritThatMakesTheServerTooSlowIsFoundToo) {
    refusal = lost_answer();
    refusal.disposition = Disposition::shrink_batch;
    expect_culprits(12, {5});
    EXPECT_TRUE(conversation.take_shrink());
    EXPECT_FALSE(conversation.take_shrink());
}

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
        EXPECT_FALSE(change.disabled);
        EXPECT_GE(change.retry_after, shortest);
        EXPECT_LE(change.retry_after, longest);
        shortest *= 2;
        now += change.retry_after;
    }
}

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

TEST_F(OneMailbox, OneItemThatAlwaysMeetsTroubleIsParkedAndTheOthersGoOn) {
    int parked = 0;
    for (int round = 0; round < 5; ++round) {
        conversation.add(create_task(prefix, "good" + std::to_string(round)));
    }
    conversation.add(create_task(prefix, "bad"));
    int requests = 0;
    while (conversation.has_work()) {
        ASSERT_LT(++requests, 50);
        now = std::max(now, conversation.not_before());
        operation = conversation.next(2);
        exchange::Answer reply;
        if (const auto* create = std::get_if<exchange::CreateItems>(&operation)) {
            reply = execute();
            for (std::size_t i = 0; i < create->items.size(); ++i) {
                if (create->items[i].stamp.ends_with("bad")) {
                    std::erase_if(folder().items,
                                  [](const auto& item) { return item.stamp.ends_with("bad"); });
                    reply.items[i].failure =
                        item_failure(Disposition::back_off, "ErrorDataSourceOperation", true);
                    reply.items[i].failure->scope = Scope::request;
                }
            }
        } else {
            reply = execute();
        }
        conversation.answer(std::move(reply), now);
    }
    for (const Outcome& outcome : outcomes()) {
        if (outcome.record == "bad") {
            EXPECT_EQ(outcome.result, Result::failed);
            ++parked;
        } else if (outcome.result != Result::found) {
            EXPECT_EQ(outcome.result, Result::written);
        }
    }
    EXPECT_EQ(parked, 1);
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
