#include "sync/decision.h"

#include <gtest/gtest.h>

#include "sync_exchange.h"

namespace crmsync::sync {
namespace {

using test::contact_property;

class Decide : public testing::Test {
  protected:
    Decide() {
        rules.layout = {contact_property("company"), contact_property("job_title")};
        rules.fields.resize(2);
        wish.exists = true;
        wish.in_audience = true;
        wish.values = &values;
        item.reference = {"id", "v1"};
        item.shadow = values;
    }

    Verdict verdict() { return decide(rules, wish, &item).verdict; }

    Rules rules;
    record::Values values{"Acme", "Clerk"};
    Wish wish;
    KnownItem item;
};

TEST_F(Decide, CreatesWhatIsMissing) {
    const Decision decision = decide(rules, wish, nullptr);
    EXPECT_EQ(decision.verdict, Verdict::create);
}

TEST_F(Decide, LeavesAloneWhatIsAlike) {
    EXPECT_EQ(verdict(), Verdict::nothing);
}

TEST_F(Decide, WritesOnlyWhatTheCrmChanged) {
    values[1] = "Boss";
    const Decision decision = decide(rules, wish, &item);
    EXPECT_EQ(decision.verdict, Verdict::update);
    ASSERT_EQ(decision.fields.size(), 1u);
    EXPECT_EQ(decision.fields[0].property, contact_property("job_title"));
    EXPECT_EQ(decision.fields[0].value, "Boss");
    ASSERT_EQ(decision.before.size(), 1u);
    EXPECT_EQ(decision.before[0], "Clerk");
}

TEST_F(Decide, WhatOnlyFillsGapsIsKnownToBeThereWhateverTheCrmHas) {
    rules.fields[1].write = record::Write::if_empty;
    for (const record::Value& title : {record::Value("Boss"), record::Value()}) {
        values = {"Other", title};
        const Decision decision = decide(rules, wish, &item);
        ASSERT_EQ(decision.fields.size(), 2u) << "the company, and file_as with it";
        EXPECT_EQ(decision.agreed, (record::Values{"Other", "Clerk"}));
    }
    item.shadow = record::Values{"Acme", std::nullopt};
    values = {"Acme", "Boss"};
    const Decision decision = decide(rules, wish, &item);
    ASSERT_EQ(decision.fields.size(), 1u);
    EXPECT_EQ(decision.agreed, std::nullopt);
}

TEST_F(Decide, WhereNothingIsWrittenNothingIsCreatedOrChanged) {
    rules.outbound = false;
    rules.fields[0].access = rules.fields[1].access = record::Access::inbound;
    EXPECT_EQ(decide(rules, wish, nullptr).verdict, Verdict::nothing);
    EXPECT_EQ(verdict(), Verdict::nothing);
    EXPECT_FALSE(decide(rules, wish, &item).strays);
    values[1] = "Boss";
    EXPECT_EQ(verdict(), Verdict::nothing);
    EXPECT_TRUE(decide(rules, wish, &item).strays) << "it has to come in again";
    item.absent = true;
    EXPECT_EQ(verdict(), Verdict::nothing) << "what its user deleted is not created again";
    item.absent = false;
    item.stamped = false;
    const Decision stamping = decide(rules, wish, &item);
    EXPECT_EQ(stamping.verdict, Verdict::update);
    EXPECT_TRUE(stamping.fields.empty()) << "the stamp alone";
    item.shadow.reset();
    item.stamped = true;
    EXPECT_EQ(verdict(), Verdict::nothing);
    EXPECT_TRUE(decide(rules, wish, &item).strays) << "what it holds is not known";
    item.origin = Origin::mailbox;
    wish.exists = false;
    EXPECT_EQ(verdict(), Verdict::leave) << "deleted in the CRM";
}

TEST_F(Decide, RepairsAnItemOfUnknownContentAndRemovesWhatTheCrmLacks) {
    values[1] = std::nullopt;
    item.shadow.reset();
    const Decision decision = decide(rules, wish, &item);
    EXPECT_EQ(decision.verdict, Verdict::update);
    ASSERT_EQ(decision.fields.size(), 3u);
    EXPECT_EQ(decision.fields[0].value, "Acme");
    EXPECT_EQ(decision.fields[1].property, contact_property("file_as"));
    EXPECT_EQ(decision.fields[2].property, contact_property("job_title"));
    EXPECT_FALSE(decision.fields[2].value);
    EXPECT_TRUE(decision.before.empty());
    item.origin = Origin::adopted;
    EXPECT_EQ(decide(rules, wish, &item).fields.size(), 2u) << "that is its user's";
}

TEST_F(Decide, RemovesOfAnUnknownItemOnlyWhatItMay) {
    rules.layout = {contact_property("company"), contact_property("job_title"),
                    contact_property("file_as"), contact_property("department")};
    rules.fields.resize(4);
    rules.fields[1].access = record::Access::inbound;
    rules.fields[3].write = record::Write::if_empty;
    EXPECT_TRUE(absent_fields(rules, {"Acme", std::nullopt, std::nullopt, std::nullopt}).empty());
}

TEST_F(Decide, DeletesWhatLeavesTheAudience) {
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::leave);
    item.leaving = true;
    EXPECT_EQ(verdict(), Verdict::nothing) << "it waits already";
    EXPECT_EQ(decide(rules, wish, nullptr).verdict, Verdict::nothing);
}

TEST_F(Decide, WhatSomebodyHasConfirmedGoesWhoeverMadeIt) {
    item.leaving = item.confirmed = true;
    item.origin = Origin::mailbox;
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::nothing) << "it is being deleted";
    wish.in_audience = true;
    EXPECT_EQ(verdict(), Verdict::stay) << "the CRM wants it there again";
}

TEST_F(Decide, MakesAnewWhatItsUserDeletedWhenTheCrmChangesItOrThePolicySaysSo) {
    item.absent = true;
    EXPECT_EQ(verdict(), Verdict::nothing);
    rules.policy.on_target_delete = OnTargetDelete::recreate;
    EXPECT_EQ(verdict(), Verdict::create);
    rules.policy.on_target_delete = OnTargetDelete::ignore;
    values[1] = "Boss";
    EXPECT_EQ(verdict(), Verdict::create);
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::forget);
}

TEST_F(Decide, AChangeInTheCrmKeepsTheRecordWhoseItemItsUserDeleted) {
    rules.policy.on_target_delete = OnTargetDelete::remove;
    item.absent = item.removed = true;
    EXPECT_EQ(verdict(), Verdict::nothing) << "it waits for the guard";
    values[0] = "Other";
    EXPECT_EQ(verdict(), Verdict::create);
    wish = {};
    EXPECT_EQ(verdict(), Verdict::forget) << "the record is gone by now";
}

TEST_F(Decide, NeverDeletesWhatAUserMadeBecauseOfTheAudience) {
    wish.in_audience = false;
    for (const Origin origin : {Origin::adopted, Origin::mailbox}) {
        item.origin = origin;
        for (const bool leaving : {false, true}) {
            item.leaving = leaving;
            EXPECT_EQ(verdict(), Verdict::unlink);
        }
    }
}

TEST_F(Decide, UnlinksWhereThePolicySaysSo) {
    wish.in_audience = false;
    rules.policy.on_audience_loss = OnAudienceLoss::unlink;
    EXPECT_EQ(verdict(), Verdict::unlink);
}

TEST_F(Decide, ADeleteInTheCrmDeletesWhateverTheOriginUnlessKept) {
    wish = {};
    for (const Origin origin : {Origin::crm, Origin::adopted, Origin::mailbox}) {
        item.origin = origin;
        rules.policy.on_crm_delete = OnCrmDelete::remove;
        EXPECT_EQ(verdict(), Verdict::leave);
        rules.policy.on_crm_delete = OnCrmDelete::keep;
        EXPECT_EQ(verdict(), Verdict::unlink);
    }
    // on_audience_loss has no say.
    rules.policy.on_crm_delete = OnCrmDelete::remove;
    rules.policy.on_audience_loss = OnAudienceLoss::unlink;
    EXPECT_EQ(verdict(), Verdict::leave);
}

TEST_F(Decide, WhatIsWantedAgainStays) {
    item.leaving = true;
    EXPECT_EQ(verdict(), Verdict::stay);
    values[0] = "Other";
    EXPECT_EQ(verdict(), Verdict::update);
}

TEST_F(Decide, WhatAUserMadeGetsOurStampAlsoWhereNothingElseIsToBeWritten) {
    item.origin = Origin::mailbox;
    item.stamped = false;
    const Decision decision = decide(rules, wish, &item);
    EXPECT_EQ(decision.verdict, Verdict::update);
    EXPECT_TRUE(decision.fields.empty());
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::unlink);
}

TEST_F(Decide, WhatMayHaveBeenDeletedIsWrittenWhenItIsWantedAgain) {
    item.leaving = true;
    EXPECT_EQ(verdict(), Verdict::stay);
    item.doubtful = true;
    const Decision decision = decide(rules, wish, &item);
    EXPECT_EQ(decision.verdict, Verdict::update) << "the stamp alone shows whether it is there";
    EXPECT_TRUE(decision.fields.empty());
    item.renew = true;
    EXPECT_EQ(verdict(), Verdict::nothing) << "it is made anew in any case";
}

TEST_F(Decide, WhatWasLeftToItsUserIsOursAgainOnlyWhenTheCrmWantsItThere) {
    item.unlinked = true;
    item.stamped = false;
    EXPECT_EQ(verdict(), Verdict::update);
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::nothing);
    wish.exists = false;
    EXPECT_EQ(verdict(), Verdict::nothing);
}

TEST_F(Decide, OfWhatWasLeftToItsUserAStampThatMayBeThereGoes) {
    item.unlinked = true;
    item.stamped = true;
    EXPECT_EQ(verdict(), Verdict::update) << "it may not be there either";
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::unlink);
    wish.exists = false;
    EXPECT_EQ(verdict(), Verdict::unlink);
}

TEST_F(Decide, WhoseAnAbsentItemIsStaysKnownWhereAUserMadeIt) {
    item.absent = true;
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::forget);
    item.origin = Origin::mailbox;
    EXPECT_EQ(verdict(), Verdict::nothing) << "he may take it out of the deleted items again";
    wish.exists = false;
    EXPECT_EQ(verdict(), Verdict::forget);
}

TEST_F(Decide, WhatIsGoneNeverComesAgain) {
    item.gone = true;
    values[0] = "Other";
    EXPECT_EQ(verdict(), Verdict::nothing);
    wish.in_audience = false;
    EXPECT_EQ(verdict(), Verdict::nothing);
    wish.exists = false;
    EXPECT_EQ(verdict(), Verdict::forget);
}

}  // namespace
}  // namespace crmsync::sync
