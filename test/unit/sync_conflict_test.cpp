// An item that its user has changed, where it was or after he has moved it: what it holds by now is
// merged with what was about to be written.
#include <gtest/gtest.h>

#include "sync/conversation.h"
#include "sync/decision.h"
#include "sync_exchange.h"

namespace crmsync::sync {
namespace {

using record::Value;
using test::contact_property;
using test::prefix;

class Conflicts : public testing::Test {
  protected:
    Conflicts() : conversation(test::mailbox_description(1, "exchange", "a@example.com")) {
        rules.layout = {contact_property("company"), contact_property("job_title")};
        rules.fields.resize(2);
        item.id = server.new_id("item");
        item.stamp = std::string(prefix) + "a";
    }

    // Brings the item from the shadow to what the CRM wants, after the user has made it `held`.
    Outcome write(const record::Values& shadow, const record::Values& wanted,
                  const record::Values& held) {
        for (std::size_t i = 0; i < held.size(); ++i) {
            if (held[i]) {
                item.values[std::string(rules.layout[i]->name)] = *held[i];
            }
        }
        const KnownItem known{
            known_as.value_or(exchange::ItemReference{item.id, item.change_key()}), shadow};
        if (!known_as) {
            server.change(item);
        }
        if (away_and_back) {
            item.id = server.new_id("item");
        }
        const Decision decision = decide(rules, {true, true, &wanted}, &known);
        EXPECT_EQ(decision.verdict, Verdict::update);

        auto desired = std::make_shared<Desired>();
        desired->stamp = item.stamp;
        desired->values = wanted;
        desired->all = record::fields_to_create(rules.object, rules.layout, rules.fields, wanted);
        desired->rules = std::make_shared<const Rules>(rules);
        Task task{};
        task.action = Action::update;
        task.record = "a";
        task.desired = desired;
        task.item = known.reference;
        task.fields = decision.fields;
        task.before = decision.before;
        task.undo = undo ? UndoStep::item : UndoStep::none;
        if (undo) {
            task.agreed = shadow;
        }
        if (made_again) {
            task.action = Action::create;
            task.item = {};
            task.fields.clear();
            task.before.clear();
            task.shadow = shadow;
        }
        conversation.add(std::move(task));
        for (requests = 0; conversation.has_work() && requests < 10; ++requests) {
            conversation.answer(
                server.execute(conversation.mailbox().account, conversation.next(50)), {});
        }
        auto outcomes = std::exchange(conversation.outcomes(), {});
        EXPECT_EQ(outcomes.size(), 1u);
        EXPECT_EQ(outcomes.at(0).result, Result::written);
        return std::move(outcomes.at(0));
    }

    // Of a company that both have changed, and a title that only the user has.
    void expect_merged(const Outcome& outcome) {
        EXPECT_EQ(now("company"), "Apex");
        EXPECT_EQ(now("job_title"), "Boss");
        ASSERT_EQ(outcome.conflicts.size(), 1u);
        EXPECT_EQ(outcome.conflicts[0].target, "Axis");
        EXPECT_EQ(outcome.item.id, item.id);
        EXPECT_EQ(outcome.agreed, (record::Values{"Apex", "Clerk"}));
    }

    Value now(const char* name) const {
        const auto value = item.values.find(name);
        return value == item.values.end() ? Value() : Value(value->second);
    }

    test::FakeExchange server;
    test::StoredItem& item = server.mailbox("a@example.com").folders[""].items.emplace_back();
    Rules rules;
    Conversation conversation;
    int requests = 0;
    bool undo = false;
    bool away_and_back = false;
    bool made_again = false;                            // it is known to be away, and no more
    std::optional<exchange::ItemReference> known_as{};  // and so nobody has changed it since
};

TEST_F(Conflicts, WhatTheUserChangedInAnotherFieldStays) {
    const Outcome outcome = write({"Acme", "Clerk"}, {"Apex", "Clerk"}, {"Acme", "Boss"});
    EXPECT_EQ(now("company"), "Apex");
    EXPECT_EQ(now("job_title"), "Boss");
    EXPECT_TRUE(outcome.conflicts.empty());
    EXPECT_EQ(outcome.agreed, (record::Values{"Apex", "Clerk"})) << "the CRM has not seen Boss";
}

TEST_F(Conflicts, WhatTheUserChangedInAnotherFieldIsKnownWhenTheCrmChangesThat) {
    const Outcome first = write({"Acme", "Clerk"}, {"Apex", "Clerk"}, {"Acme", "Boss"});
    known_as = first.item;
    const Outcome second = write(first.agreed.value(), {"Apex", "Chief"}, {});
    EXPECT_EQ(now("job_title"), "Chief");
    EXPECT_EQ(second.before.at(0), "Boss") << "so that it can be brought back";
    ASSERT_EQ(second.conflicts.size(), 1u);
    EXPECT_EQ(second.conflicts[0].target, "Boss");
    EXPECT_EQ(requests, 2) << "it is read first";
    known_as = second.item;
    write(second.agreed.value(), {"Apex", "Head"}, {});
    EXPECT_EQ(requests, 1) << "which is as was agreed on";
}

TEST_F(Conflicts, TheCrmWinsTheSameFieldAndBothValuesAreKept) {
    const Outcome outcome = write({"Acme", {}}, {"Apex", {}}, {"Axis", {}});
    EXPECT_EQ(now("company"), "Apex");
    ASSERT_EQ(outcome.conflicts.size(), 1u);
    EXPECT_EQ(outcome.conflicts[0].property, contact_property("company"));
    EXPECT_EQ(outcome.conflicts[0].crm, "Apex");
    EXPECT_EQ(outcome.conflicts[0].target, "Axis");
    EXPECT_TRUE(outcome.conflicts[0].crm_won);
    EXPECT_EQ(outcome.before.at(0), "Axis") << "the history shows what was overwritten";
}

TEST_F(Conflicts, WhatTheUserHasDoneAlreadyIsNotDoneAgain) {
    const Outcome outcome = write({"Acme", {}}, {"Apex", {}}, {"Apex", {}});
    EXPECT_EQ(requests, 2) << "an update that is refused, and the reading";
    EXPECT_TRUE(outcome.conflicts.empty());
    EXPECT_EQ(outcome.agreed, (record::Values{"Apex", {}}));
}

TEST_F(Conflicts, WhatOnlyFillsAGapLeavesWhatTheUserHasTyped) {
    rules.fields[0].write = record::Write::if_empty;
    const Outcome outcome = write({{}, "Clerk"}, {"Apex", "Chief"}, {"Own", "Clerk"});
    EXPECT_EQ(now("company"), "Own");
    EXPECT_EQ(now("job_title"), "Chief");
    EXPECT_EQ(outcome.agreed, (record::Values{"Own", "Chief"}));
}

TEST_F(Conflicts, WhatTheUserChangedInAnItemThatHeAlsoMovedStays) {
    away_and_back = true;
    const Outcome outcome = write({"Acme", "Clerk"}, {"Apex", "Clerk"}, {"Axis", "Boss"});
    expect_merged(outcome);
}

TEST_F(Conflicts, WhatTheUserChangedStaysAlsoWhereTheItemWasThoughtToBeAway) {
    made_again = true;
    const Outcome outcome = write({"Acme", "Clerk"}, {"Apex", "Clerk"}, {"Axis", "Boss"});
    expect_merged(outcome);
}

TEST_F(Conflicts, WhatIsUndoneLeavesTheShadowAndWhatTheUserHasTyped) {
    undo = true;
    rules.fields[0].write = rules.fields[1].write = record::Write::unless_changed;
    const Outcome outcome = write({"Apex", "Chief"}, {"Acme", "Clerk"}, {"Own", "Chief"});
    EXPECT_EQ(now("company"), "Own");
    EXPECT_EQ(now("job_title"), "Clerk");
    EXPECT_EQ(outcome.undo, UndoStep::item);
    EXPECT_EQ(outcome.agreed, (record::Values{"Apex", "Chief"})) << "the CRM keeps its values";
    EXPECT_TRUE(outcome.conflicts.empty());
}

TEST_F(Conflicts, WhatCannotBeReadIsNoConflict) {
    item.unreadable = {"company", "job_title"};
    const Outcome outcome = write({"Acme", "Clerk"}, {"Apex", "Clerk"}, {});
    EXPECT_EQ(now("company"), "Apex");
    EXPECT_TRUE(item.unreadable.contains("job_title")) << "of what the CRM has not changed";
    EXPECT_TRUE(outcome.conflicts.empty());
    EXPECT_EQ(outcome.agreed, (record::Values{"Apex", "Clerk"}));
}

TEST_F(Conflicts, WhatOnlyFillsAGapLeavesWhatCannotBeRead) {
    rules.fields[0].write = record::Write::if_empty;
    item.unreadable = {"company"};
    const Outcome outcome = write({{}, "Clerk"}, {"Apex", "Chief"}, {});
    EXPECT_TRUE(item.unreadable.contains("company"));
    EXPECT_EQ(now("job_title"), "Chief");
    EXPECT_EQ(outcome.agreed.value().at(0), Value(record::cannot_be_read));
}

TEST_F(Conflicts, WhatIsUndoneLeavesWhatCannotBeRead) {
    undo = true;
    rules.fields[0].write = rules.fields[1].write = record::Write::unless_changed;
    item.unreadable = {"company"};
    write({"Apex", "Chief"}, {"Acme", "Clerk"}, {{}, "Chief"});
    EXPECT_TRUE(item.unreadable.contains("company"));
    EXPECT_EQ(now("job_title"), "Clerk");
}

}  // namespace
}  // namespace crmsync::sync
