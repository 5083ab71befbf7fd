// Who writes what: the rules of both sides, one by one.
#include <gtest/gtest.h>

#include <map>

#include "record/merge.h"
#include "record/names.h"

namespace crmsync::record {
namespace {

// A link that maps these contact properties, all policies at their defaults.
struct Link {
    explicit Link(std::initializer_list<const char*> names) {
        for (const char* name : names) {
            const Property* property = find_property(name, Object::contact);
            if (property == nullptr) {
                throw std::logic_error(name);
            }
            layout.push_back(property);
        }
        policies.resize(layout.size());
    }

    Fields create(const Values& crm) const {
        return fields_to_create(Object::contact, layout, policies, crm);
    }
    Fields update(const Values& crm, const Values& shadow) const {
        return fields_to_update(Object::contact, layout, policies, crm, shadow);
    }
    Merge merge(const Values& shadow, const Values& crm, const Values& target,
                const MergeContext& context = {}) const {
        return record::merge(context, layout, policies, shadow, crm, target);
    }

    Layout layout;
    Policies policies;
};

using Written = std::map<std::string, std::string>;

Written written(const Fields& fields) {
    Written result;
    for (const Field& field : fields) {
        EXPECT_TRUE(
            result.emplace(std::string(field.property->name), field.value.value_or("(none)"))
                .second)
            << field.property->name << " twice";
    }
    return result;
}

const MergeContext both_ways{.outbound = true, .inbound = true};
const MergeContext inwards{.outbound = false, .inbound = true};

TEST(Create, WritesWhatThereIsAndFilesIt) {
    const Link link{"given_name", "surname", "home_phone"};
    EXPECT_EQ(written(link.create({"Ann", "Lee", {}})),
              (Written{{"given_name", "Ann"}, {"surname", "Lee"}, {"file_as", "Lee, Ann"}}));
}

TEST(Create, KeepsAFileAsOfTheCrm) {
    const Link link{"given_name", "file_as"};
    EXPECT_EQ(written(link.create({"Ann", "Boss"})),
              (Written{{"given_name", "Ann"}, {"file_as", "Boss"}}));
    EXPECT_EQ(written(link.create({"Ann", {}})),
              (Written{{"given_name", "Ann"}, {"file_as", "Ann"}}));
}

TEST(Create, LeavesOutWhatDoesNotTravelOutwards) {
    Link link{"given_name", "notes", "@mailbox"};
    link.policies[1].access = Access::inbound;
    EXPECT_EQ(written(link.create({"Ann", "secret", "a@b"})),
              (Written{{"given_name", "Ann"}, {"file_as", "Ann"}}));
}

TEST(FileAs, IsMadeFromWhatThereIs) {
    const Link link{"given_name", "middle_name", "surname", "company", "display_name", "email_1"};
    const auto made = [&](Values values) { return file_as_from(link.layout, values); };
    EXPECT_EQ(made({"Ann", "M", "Lee", "Acme", {}, {}}), Value("Lee, Ann M"));
    EXPECT_EQ(made({{}, "M", "Lee", "Acme", {}, {}}), Value("Lee, M"));
    EXPECT_EQ(made({"Ann", {}, {}, "Acme", {}, {}}), Value("Ann"));
    EXPECT_EQ(made({{}, {}, "Lee", {}, {}, {}}), Value("Lee"));
    EXPECT_EQ(made({{}, {}, {}, "Acme", "D", "a@b"}), Value("Acme"));
    EXPECT_EQ(made({{}, {}, {}, {}, "D", "a@b"}), Value("D"));
    EXPECT_EQ(made({{}, {}, {}, {}, {}, "a@b"}), Value("a@b"));
    EXPECT_EQ(made({{}, {}, {}, {}, {}, {}}), Value());
}

// The example of the NexJ documentation, rule N10.
TEST(Update, JackStaysJackUntilTheCrmChangesThatField) {
    const Link link{"given_name", "home_phone"};
    const Values shadow{"John", "1"};  // Exchange holds Jack by now, which nobody read
    EXPECT_EQ(written(link.update({"John", "2"}, shadow)), (Written{{"home_phone", "2"}}));
    EXPECT_EQ(written(link.update({"Joe", "2"}, {"John", "2"})),
              (Written{{"given_name", "Joe"}, {"file_as", "Joe"}}));
}

TEST(Update, OfNothingIsNothing) {
    Link link{"given_name", "display_name", "importance"};
    EXPECT_TRUE(link.update({"a", "b", {}}, {"a", "b", "normal"}).empty());
    link.policies[0].write = Write::all;
    EXPECT_TRUE(link.update({"a", "b", {}}, {"a", "b", {}}).empty());
}

TEST(Update, RemovesWhatTheCrmRemoved) {
    const Link link{"home_phone"};
    EXPECT_EQ(written(link.update({Value{}}, {"1"})), (Written{{"home_phone", "(none)"}}));
}

TEST(Update, OfANamePartTakesTheWholeNamesAlong) {
    const Link link{"given_name", "surname", "display_name", "job_title"};
    EXPECT_EQ(written(link.update({"Ann", "Ray", "Ann Lee", "x"}, {"Ann", "Lee", "Ann Lee", "x"})),
              (Written{{"surname", "Ray"}, {"display_name", "Ann Lee"}, {"file_as", "Ray, Ann"}}));
    EXPECT_EQ(written(link.update({"Ann", "Lee", "A. Lee", "x"}, {"Ann", "Lee", "Ann Lee", "x"})),
              (Written{{"display_name", "A. Lee"}}));
    EXPECT_EQ(written(link.update({"Ann", "Lee", "Ann Lee", "y"}, {"Ann", "Lee", "Ann Lee", "x"})),
              (Written{{"job_title", "y"}}));
}

TEST(Update, OfAnAddressTakesItsWholeAlong) {
    const Link link{"business_city", "business_address", "home_city", "home_address"};
    EXPECT_EQ(written(link.update({"Bern", "1 Bern", "Ulm", "2 Ulm"},
                                  {"Basel", "1 Bern", "Ulm", "2 Ulm"})),
              (Written{{"business_city", "Bern"}, {"business_address", "1 Bern"}}));
}

TEST(Update, OfAnEmailTakesItsNameAlong) {
    const Link link{"email_1", "email_1_name", "email_2", "email_2_name"};
    EXPECT_EQ(written(link.update({"b@x", "Ann", "c@x", "Cat"}, {"a@x", "Ann", "c@x", "Cat"})),
              (Written{{"email_1", "b@x"}, {"email_1_name", "Ann"}, {"file_as", "b@x"}}));
}

// The server makes them, and what it makes is not taken away.
TEST(Update, TakesNothingAlongThatTheCrmDoesNotHave) {
    const Link link{"surname",      "display_name", "email_1",
                    "email_1_name", "home_city",    "home_address"};
    EXPECT_EQ(
        written(link.update({"Ray", {}, "b@x", {}, "Ulm", {}}, {"Lee", {}, "a@x", {}, "Bern", {}})),
        (Written{
            {"surname", "Ray"}, {"email_1", "b@x"}, {"home_city", "Ulm"}, {"file_as", "Ray"}}));
    EXPECT_EQ(written(link.update({"Ray", {}, "a@x", {}, "Ulm", {}},
                                  {"Lee", "Ann", "a@x", {}, "Ulm", "1 Ulm"})),
              (Written{{"surname", "Ray"},
                       {"display_name", "(none)"},
                       {"home_address", "(none)"},
                       {"file_as", "Ray"}}))
        << "what the CRM has cleared";
}

TEST(Merge, TakesNothingAlongThatTheCrmDoesNotHave) {
    const Link link{"surname", "display_name"};
    const Merge merge = link.merge({"Lee", {}}, {"Ray", {}}, {"Lee", "Ann Lee"});
    EXPECT_EQ(written(merge.to_target), (Written{{"surname", "Ray"}, {"file_as", "Ray"}}));
    EXPECT_EQ(merge.shadow, (Values{"Ray", {}}));
}

TEST(Update, WritesAllWhereThePolicySaysSo) {
    Link link{"given_name", "home_phone", "job_title"};
    link.policies[1].write = Write::all;
    EXPECT_EQ(written(link.update({"a", "1", "y"}, {"a", "1", "x"})),
              (Written{{"home_phone", "1"}, {"job_title", "y"}}));
}

TEST(Update, FillsOnlyWhatIsEmptyWhereThePolicySaysSo) {
    Link link{"home_phone", "mobile_phone"};
    link.policies[0].write = link.policies[1].write = Write::if_empty;
    EXPECT_EQ(written(link.update({"1", "2"}, {{}, "3"})), (Written{{"home_phone", "1"}}));
}

TEST(Merge, OutwardsKeepsWhatTheUserChangedElsewhere) {
    const Link link{"given_name", "home_phone"};
    const Merge merge = link.merge({"John", "1"}, {"John", "2"}, {"Jack", "1"});
    EXPECT_EQ(written(merge.to_target), (Written{{"home_phone", "2"}}));
    EXPECT_TRUE(merge.to_crm.empty());
    EXPECT_TRUE(merge.conflicts.empty());
    EXPECT_EQ(merge.shadow, (Values{"John", "2"}));
}

TEST(Merge, OutwardsOverwritesAndRecordsTheConflict) {
    const Link link{"home_phone"};
    const Merge merge = link.merge({"1"}, {"2"}, {"3"});
    EXPECT_EQ(written(merge.to_target), (Written{{"home_phone", "2"}}));
    ASSERT_EQ(merge.conflicts.size(), 1u);
    EXPECT_EQ(merge.conflicts[0].crm, Value("2"));
    EXPECT_EQ(merge.conflicts[0].target, Value("3"));
    EXPECT_TRUE(merge.conflicts[0].crm_won);
    EXPECT_EQ(merge.shadow, Values{"2"});
}

TEST(Merge, BothWaysCarriesEachSideOver) {
    const Link link{"given_name", "home_phone"};
    const Merge merge = link.merge({"a", "1"}, {"b", "1"}, {"a", "2"}, both_ways);
    EXPECT_EQ(written(merge.to_target), (Written{{"given_name", "b"}, {"file_as", "b"}}));
    EXPECT_EQ(written(merge.to_crm), (Written{{"home_phone", "2"}}));
    EXPECT_TRUE(merge.conflicts.empty());
    EXPECT_EQ(merge.shadow, (Values{"b", "2"}));
}

// Between taking an old photo away and sending the new one a crash leaves none.
TEST(Merge, WhatTravelsApartIsSentAgainWhereItIsNotThere) {
    Link link{"photo"};
    link.policies[0].conflict = Conflict::target_wins;
    const Merge again = link.merge({"old"}, {"new"}, {{}}, both_ways);
    EXPECT_EQ(written(again.to_target), (Written{{"photo", "new"}}));
    EXPECT_TRUE(again.to_crm.empty());
    EXPECT_TRUE(again.conflicts.empty());
    const Merge removed = link.merge({"old"}, {"old"}, {{}}, both_ways);
    EXPECT_EQ(written(removed.to_crm), (Written{{"photo", "(none)"}}));
    const Merge other = link.merge({"old"}, {"new"}, {"theirs"}, both_ways);
    EXPECT_EQ(written(other.to_crm), (Written{{"photo", "theirs"}}));
}

TEST(Merge, TheSameChangeOnBothSidesIsAgreement) {
    const Link link{"given_name"};
    const Merge merge = link.merge({"a"}, {"b"}, {"b"}, both_ways);
    EXPECT_TRUE(merge.to_target.empty());
    EXPECT_TRUE(merge.to_crm.empty());
    EXPECT_TRUE(merge.conflicts.empty());
    EXPECT_EQ(merge.shadow, Values{"b"});
}

struct Decision {
    Conflict policy;
    bool crm_is_newer;
    bool crm_wins;
};

class Conflicting : public testing::TestWithParam<Decision> {};

TEST_P(Conflicting, IsDecidedByThePolicyOfTheField) {
    for (const Write write : {Write::changed, Write::all}) {
        Link link{"home_phone"};
        link.policies[0] = {.write = write, .conflict = GetParam().policy};
        MergeContext context = both_ways;
        context.crm_is_newer = GetParam().crm_is_newer;
        const Merge merge = link.merge({"1"}, {"2"}, {"3"}, context);
        ASSERT_EQ(merge.conflicts.size(), 1u);
        EXPECT_EQ(merge.conflicts[0].crm_won, GetParam().crm_wins);
        EXPECT_EQ(merge.to_target.size(), GetParam().crm_wins ? 1u : 0u);
        EXPECT_EQ(merge.to_crm.size(), GetParam().crm_wins ? 0u : 1u);
        EXPECT_EQ(merge.shadow, Values{GetParam().crm_wins ? "2" : "3"});
    }
}

TEST_P(Conflicting, FieldsAreDecidedOneByOne) {
    Link link{"home_phone", "mobile_phone"};
    link.policies[0].conflict = GetParam().policy;
    link.policies[1].conflict = Conflict::target_wins;
    MergeContext context = both_ways;
    context.crm_is_newer = GetParam().crm_is_newer;
    const Merge merge = link.merge({"1", "1"}, {"2", "2"}, {"3", "3"}, context);
    EXPECT_EQ(merge.shadow, (Values{GetParam().crm_wins ? "2" : "3", "3"}));
    EXPECT_EQ(written(merge.to_crm)["mobile_phone"], "3");
    EXPECT_EQ(merge.to_target.size(), GetParam().crm_wins ? 1u : 0u);
}

TEST_P(Conflicting, IfEmptyLeavesNothingToDecide) {
    Link link{"home_phone"};
    link.policies[0] = {.write = Write::if_empty, .conflict = GetParam().policy};
    MergeContext context = both_ways;
    context.crm_is_newer = GetParam().crm_is_newer;
    const Merge merge = link.merge({"1"}, {"2"}, {"3"}, context);
    EXPECT_TRUE(merge.conflicts.empty());
    EXPECT_TRUE(merge.to_target.empty());
    EXPECT_EQ(written(merge.to_crm), (Written{{"home_phone", "3"}}));
}

INSTANTIATE_TEST_SUITE_P(Policies, Conflicting,
                         testing::Values(Decision{Conflict::crm_wins, false, true},
                                         Decision{Conflict::target_wins, true, false},
                                         Decision{Conflict::newest_wins, true, true},
                                         Decision{Conflict::newest_wins, false, false}));

TEST(Merge, InwardsOnlyNeverWritesTheTarget) {
    const Link link{"given_name", "home_phone"};
    const Merge merge = link.merge({"a", "1"}, {"b", "2"}, {"a", "3"}, inwards);
    EXPECT_TRUE(merge.to_target.empty());
    EXPECT_EQ(written(merge.to_crm), (Written{{"given_name", "a"}, {"home_phone", "3"}}))
        << "what the CRM has changed is as the target has it again";
    EXPECT_EQ(merge.shadow, (Values{"a", "3"}));
}

TEST(Merge, InwardsOnlyTheCrmKeepsWhatTheTargetNeverHad) {
    const Link link{"home_phone"};
    EXPECT_TRUE(link.merge({Value{}}, {"1"}, {Value{}}, inwards).to_crm.empty());
    EXPECT_EQ(written(link.merge({"1"}, {"1"}, {Value{}}, inwards).to_crm),
              (Written{{"home_phone", "(none)"}}));
}

TEST(Merge, AFieldOfItsOwnOnlyComesIn) {
    Link link{"home_phone", "mobile_phone"};
    link.policies[0].access = Access::inbound;
    const Merge merge = link.merge({"1", "1"}, {"2", "2"}, {"1", "1"}, both_ways);
    EXPECT_EQ(written(merge.to_crm), (Written{{"home_phone", "1"}}));
    EXPECT_EQ(written(merge.to_target), (Written{{"mobile_phone", "2"}}));
    EXPECT_TRUE(link.update({"2", "1"}, {"1", "1"}).empty());
}

TEST(Merge, WhatStandsInAsAgreedIsNotReceivedAgain) {
    Link link{"given_name", "surname"};
    link.policies[0].access = link.policies[1].access = Access::inbound;
    const Values solo{"Solo", "Solo"};
    EXPECT_EQ(written(link.merge(solo, {"Han", "Han"}, solo, inwards).to_crm),
              (Written{{"given_name", "Solo"}, {"surname", "Solo"}}));
    const MergeContext stands_in{.outbound = false, .inbound = true, .stand_ins = {0}};
    const Merge merge = link.merge(solo, {"Han", "Han"}, solo, stands_in);
    EXPECT_EQ(written(merge.to_crm), (Written{{"surname", "Solo"}}));
    EXPECT_EQ(merge.shadow, solo);
    EXPECT_TRUE(merge.conflicts.empty());
}

TEST(Strays, IsWhatOnlyComesInAndTheCrmHasChanged) {
    Link link{"home_phone", "mobile_phone"};
    EXPECT_FALSE(strays(link.layout, link.policies, {"2", "2"}, {"1", "1"})) << "it goes out";
    link.policies[0].access = Access::inbound;
    EXPECT_TRUE(strays(link.layout, link.policies, {"2", "1"}, {"1", "1"}));
    EXPECT_TRUE(strays(link.layout, link.policies, {Value{}, "1"}, {"1", "1"}));
    EXPECT_FALSE(strays(link.layout, link.policies, {"1", "2"}, {"1", "1"}));
    EXPECT_FALSE(strays(link.layout, link.policies, {"2", "1"}, {Value{}, "1"}))
        << "the target has nothing";
    link.policies[0].exact = false;
    EXPECT_FALSE(strays(link.layout, link.policies, {"2", "1"}, {"1", "1"}))
        << "an expression may have made it so";
}

TEST(Merge, WhatIsNotComparedIsNeverTakenFromTheTarget) {
    const Link link{"display_name", "business_address", "email_1_name"};
    const Merge merge = link.merge({"a", "b", "c"}, {"a", "b", "c"}, {"x", "y", "z"}, both_ways);
    EXPECT_TRUE(merge.to_target.empty());
    EXPECT_TRUE(merge.to_crm.empty());
    EXPECT_TRUE(merge.conflicts.empty());
    EXPECT_EQ(merge.shadow, (Values{"a", "b", "c"}));
}

TEST(Merge, NamesGoAlongWithTheMergedValues) {
    const Link link{"given_name", "surname"};
    const Merge merge = link.merge({"a", "x"}, {"b", "x"}, {"a", "y"}, both_ways);
    EXPECT_EQ(written(merge.to_target), (Written{{"given_name", "b"}, {"file_as", "y, b"}}));
}

TEST(Merge, WriteAllSendsTheUsersValueBackToNobody) {
    Link link{"given_name", "home_phone"};
    link.policies[0].write = link.policies[1].write = Write::all;
    const Merge outwards = link.merge({"a", "1"}, {"a", "2"}, {"b", "1"});
    EXPECT_EQ(written(outwards.to_target),
              (Written{{"given_name", "a"}, {"home_phone", "2"}, {"file_as", "a"}}));
    const Merge two_way = link.merge({"a", "1"}, {"a", "2"}, {"b", "1"}, both_ways);
    EXPECT_EQ(written(two_way.to_target)["given_name"], "b");
    EXPECT_EQ(written(two_way.to_crm), (Written{{"given_name", "b"}}));
}

TEST(Merge, WriteAllDoesSoWhereTheUserHasMadeTheSameChange) {
    Link link{"home_phone", "job_title"};
    link.policies[1].write = Write::all;
    const auto change = [&](const MergeContext& context) {
        return link.merge({"1", "a"}, {"2", "a"}, {"2", "b"}, context);
    };
    EXPECT_EQ(written(change({}).to_target), (Written{{"job_title", "a"}}));
    EXPECT_TRUE(change(both_ways).to_target.empty());
    EXPECT_EQ(written(change(both_ways).to_crm), (Written{{"job_title", "b"}}));
    EXPECT_TRUE(link.merge({"1", "a"}, {"2", "a"}, {"2", "a"}).to_target.empty());
    EXPECT_TRUE(link.merge({{}, {}}, {"2", {}}, {"2", "b"}, {.first = true}).to_target.empty())
        << "where nothing was agreed on the CRM has changed nothing";
    link.policies[1].write = Write::changed;
    EXPECT_TRUE(change({}).to_target.empty());
}

TEST(Merge, IfEmptyNeverOverwritesAndRemembers) {
    Link link{"home_phone"};
    link.policies[0].write = Write::if_empty;
    const Merge filled = link.merge({Value{}}, {"1"}, {"2"});
    EXPECT_TRUE(filled.to_target.empty());
    EXPECT_TRUE(filled.conflicts.empty());
    EXPECT_EQ(filled.shadow, Values{"2"});
    EXPECT_TRUE(link.update({"1"}, filled.shadow).empty());
    EXPECT_EQ(written(link.merge({Value{}}, {"1"}, {Value{}}).to_target),
              (Written{{"home_phone", "1"}}));
}

TEST(Merge, IfEmptyFillsAGapOnce) {
    Link link{"home_phone"};
    link.policies[0] = {.write = Write::if_empty, .access = Access::outbound};
    for (const MergeContext& context : {MergeContext{}, both_ways}) {
        const Merge emptied = link.merge({"1"}, {"2"}, {Value{}}, context);
        EXPECT_TRUE(emptied.to_target.empty()) << "whatever the CRM has by now";
        EXPECT_TRUE(emptied.conflicts.empty());
        EXPECT_EQ(emptied.shadow, Values{"1"});
        EXPECT_EQ(link.merge({"1"}, {Value{}}, {Value{}}, context).shadow, Values{{}})
            << "where both have none it is a gap again";
    }
}

TEST(Merge, UnlessChangedLeavesWhatTheUserHasChanged) {
    Link link{"home_phone", "mobile_phone"};
    link.policies[0].write = link.policies[1].write = Write::unless_changed;
    EXPECT_EQ(written(link.update({"2", "2"}, {"1", "1"})),
              (Written{{"home_phone", "2"}, {"mobile_phone", "2"}}));
    const Merge merge = link.merge({"1", "1"}, {"2", "2"}, {"3", "1"});
    EXPECT_EQ(written(merge.to_target), (Written{{"mobile_phone", "2"}}));
    EXPECT_TRUE(merge.conflicts.empty());
    EXPECT_EQ(merge.shadow, (Values{"1", "2"}));
}

// After a merge has been carried out, nothing is left to do.
TEST(Merge, ConvergesInOneStep) {
    const std::vector<Value> choices{Value{}, "a", "b", "c"};
    for (const bool in : {false, true}) {
        for (const Conflict conflict : {Conflict::crm_wins, Conflict::target_wins}) {
            for (const Value& shadow : choices) {
                for (const Value& crm : choices) {
                    for (const Value& target : choices) {
                        Link link{"job_title"};
                        link.policies[0].conflict = conflict;
                        MergeContext context;
                        context.inbound = in;
                        const Merge first = link.merge({shadow}, {crm}, {target}, context);
                        const Value c = first.to_crm.empty() ? crm : first.to_crm[0].value;
                        const Value t = first.to_target.empty() ? target : first.to_target[0].value;
                        const Merge second = link.merge(first.shadow, {c}, {t}, context);
                        EXPECT_TRUE(second.to_target.empty());
                        EXPECT_TRUE(second.to_crm.empty());
                        EXPECT_TRUE(second.conflicts.empty());
                        if (in) {
                            EXPECT_EQ(c, t);
                            EXPECT_EQ(first.shadow[0], c);
                        }
                    }
                }
            }
        }
    }
}

TEST(Merge, WhatCouldNotBeReadIsAsItWasAgreedOn) {
    const Link link{"email_1", "job_title"};
    const auto merge = [&](const Values& crm, Values target) {
        const Values shadow{"ann@example.com", "Clerk"};
        take_as_agreed({0}, link.policies, shadow, target);
        return link.merge(shadow, crm, target, both_ways);
    };
    const Merge by_user = merge({"ann@example.com", "Clerk"}, {{}, "Boss"});
    EXPECT_EQ(written(by_user.to_crm), (Written{{"job_title", "Boss"}}));
    EXPECT_EQ(by_user.shadow, (Values{"ann@example.com", "Boss"}));
    const Merge by_both = merge({"lee@example.com", "Clerk"}, {{}, "Clerk"});
    EXPECT_EQ(written(by_both.to_target),
              (Written{{"email_1", "lee@example.com"}, {"file_as", "lee@example.com"}}));
    EXPECT_TRUE(by_both.conflicts.empty());
}

TEST(Merge, WhatCouldNotBeReadIsNoGap) {
    Link link{"email_1", "job_title"};
    link.policies[0].write = Write::if_empty;
    for (const Value& crm : {Value("ann@example.com"), Value()}) {
        Values target{{}, "Clerk"};
        take_as_agreed({0}, link.policies, {{}, "Clerk"}, target);
        const Merge merge = link.merge({{}, "Clerk"}, {crm, "Clerk"}, target, both_ways);
        EXPECT_TRUE(merge.to_target.empty());
        EXPECT_TRUE(merge.to_crm.empty());
        EXPECT_TRUE(merge.conflicts.empty());
        EXPECT_TRUE(link.update({"lee@example.com", "Clerk"}, merge.shadow).empty())
            << "nor when the CRM next changes it";
        EXPECT_EQ(written(link.merge(merge.shadow, {crm, "Clerk"}, {"own@example.com", "Clerk"},
                                     both_ways)
                              .to_crm),
                  (Written{{"email_1", "own@example.com"}}));
        EXPECT_EQ(link.merge(merge.shadow, {crm, "Clerk"}, {{}, "Clerk"}, both_ways).shadow[0], crm)
            << "until it is one";
    }
}

TEST(Update, WhatCouldNotBeReadIsNotEmptiedByAnotherPolicy) {
    const Link link{"home_phone"};
    const Values shadow{Value(cannot_be_read)};
    EXPECT_TRUE(link.update({Value{}}, shadow).empty());
    EXPECT_EQ(written(link.update({"1"}, shadow)), (Written{{"home_phone", "1"}}));
}

TEST(Merge, WhatCouldNotBeReadIsNothingToOtherPolicies) {
    Link link{"email_1", "job_title"};
    const Values shadow{Value(cannot_be_read), "Clerk"};
    Values target{{}, "Clerk"};
    take_as_agreed({0}, link.policies, shadow, target);
    EXPECT_TRUE(link.merge(shadow, {{}, "Clerk"}, target, both_ways).to_target.empty());
    EXPECT_TRUE(link.merge(shadow, {{}, "Clerk"}, target).to_target.empty());
    const Merge typed = link.merge(shadow, {{}, "Clerk"}, {"own@example.com", "Clerk"}, both_ways);
    EXPECT_TRUE(typed.to_target.empty());
    EXPECT_TRUE(typed.conflicts.empty());
    EXPECT_EQ(written(typed.to_crm), (Written{{"email_1", "own@example.com"}}));
    link.policies[0].access = Access::inbound;
    for (const Value& crm : {Value("x@example.com"), Value()}) {
        EXPECT_TRUE(link.merge(shadow, {crm, "Clerk"}, target, both_ways).to_crm.empty());
        EXPECT_EQ(link.merge(shadow, {crm, "Clerk"}, target, both_ways).shadow[0], crm);
    }
}

TEST(Merge, ListsOfDifferentLengthAreAnError) {
    const Link link{"job_title"};
    EXPECT_THROW(link.update({}, {"a"}), std::logic_error);
    EXPECT_THROW(link.merge({"a"}, {"a", "b"}, {"a"}), std::logic_error);
}

}  // namespace
}  // namespace crmsync::record
