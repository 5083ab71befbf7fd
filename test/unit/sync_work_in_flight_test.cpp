#include "sync/work_in_flight.h"

#include <gtest/gtest.h>

namespace crmsync::sync {
namespace {

constexpr int link = 1;
constexpr int slow = 10;
constexpr int quick = 11;
const std::string record = "r";

PendingRow row(std::int64_t version, int tier = 0) {
    return {link, tier, record, version};
}

std::vector<std::int64_t> versions(const WorkInFlight::Ended& ended) {
    std::vector<std::int64_t> found;
    for (const PendingRow& settled : ended.settled) {
        found.push_back(settled.version);
    }
    return found;
}

using Versions = std::vector<std::int64_t>;

class InFlight : public testing::Test {
  protected:
    // A record that was decided and is to be written in these mailboxes.
    void decide(const PendingRow& decided, const std::vector<int>& mailboxes) {
        work_.decide(link, record, {decided}, mailboxes);
    }
    WorkInFlight::Ended end(int mailbox, bool released = false) {
        return work_.end_one(link, record, mailbox, released);
    }

    WorkInFlight work_;
};

TEST_F(InFlight, IsKnownByLinkRecordAndMailbox) {
    EXPECT_FALSE(work_.occupies(link, record));
    decide(row(1), {slow});
    EXPECT_TRUE(work_.occupies(link, record));
    EXPECT_TRUE(work_.occupies(link, record, slow));
    EXPECT_FALSE(work_.occupies(link, record, quick));
    EXPECT_FALSE(work_.occupies(link, "another"));
    EXPECT_FALSE(work_.occupies(2, record, slow));
    EXPECT_EQ(work_.size(link), 1U);
    EXPECT_EQ(work_.size(2), 0U);
}

TEST_F(InFlight, IsSettledByItsLastOutcome) {
    decide(row(1), {slow, quick});
    EXPECT_TRUE(versions(end(quick)).empty());
    EXPECT_FALSE(work_.occupies(link, record, quick));
    const auto ended = end(slow);
    EXPECT_EQ(versions(ended), Versions{1});
    EXPECT_FALSE(ended.awaited);
    EXPECT_EQ(work_.size(link), 0U);
}

TEST_F(InFlight, ARowIsCoveredOnceItIsDecided) {
    decide(row(1), {slow});
    EXPECT_TRUE(work_.covers(row(1)));
    EXPECT_FALSE(work_.covers(row(2)));
    EXPECT_FALSE(work_.covers(row(1, 1)));
}

TEST_F(InFlight, WhoAsksIsToldOfTheEnd) {
    decide(row(1), {slow, quick});
    EXPECT_TRUE(work_.occupies(link, record, slow));
    EXPECT_FALSE(end(quick).awaited);
    const auto ended = end(slow);
    EXPECT_TRUE(ended.awaited);
    EXPECT_EQ(versions(ended), Versions{1});
}

TEST_F(InFlight, DecidedAgainMeanwhileItIsDecidedOnceMoreAtTheEnd) {
    decide(row(1), {slow, quick});
    end(quick);
    decide(row(2), {quick});
    EXPECT_TRUE(work_.covers(row(2)));
    EXPECT_TRUE(versions(end(quick)).empty());
    EXPECT_TRUE(work_.covers(row(2)));
    const auto ended = end(slow);
    EXPECT_TRUE(ended.awaited);
    EXPECT_TRUE(versions(ended).empty());
    EXPECT_FALSE(work_.occupies(link, record));
}

TEST_F(InFlight, WhatFollowsFromTheSameRowsIsDecidedOnce) {
    decide(row(1), {slow});
    decide(row(2), {quick});
    EXPECT_TRUE(end(slow).awaited);
    EXPECT_FALSE(work_.covers(row(2)));
    decide(row(2), {slow});
    EXPECT_TRUE(work_.covers(row(2)));
    EXPECT_FALSE(end(quick).awaited);
    EXPECT_TRUE(work_.covers(row(2)));
    EXPECT_EQ(versions(end(slow)), Versions{2});
}

TEST_F(InFlight, WhatFollowsFromNoDecisionIsDecidedAfterIt) {
    work_.begin(link, record, slow);
    decide(row(1), {quick});
    EXPECT_FALSE(end(quick).awaited);
    EXPECT_TRUE(end(slow).awaited);
    EXPECT_FALSE(work_.covers(row(1)));
    EXPECT_FALSE(work_.occupies(link, record));
}

TEST_F(InFlight, WhatWasReleasedStaysPendingAndIsLookedAtAgain) {
    decide(row(1), {slow, quick});
    EXPECT_FALSE(end(quick, true).awaited);
    EXPECT_FALSE(work_.covers(row(1)));
    EXPECT_TRUE(versions(end(slow)).empty());
    EXPECT_FALSE(work_.occupies(link, record));
}

TEST_F(InFlight, RowsOfBothTiersAreSettledTogether) {
    decide(row(1, 1), {slow});
    work_.decide(link, record, {row(5), row(2, 1)}, {quick});
    end(slow);
    work_.decide(link, record, {row(5), row(2, 1)}, {slow});
    end(quick);
    EXPECT_EQ(versions(end(slow)), (Versions{5, 2}));
}

TEST_F(InFlight, ARowThatWasNotReadAgainIsNotDecided) {
    decide(row(1), {slow});
    work_.decide(link, record, {row(2), row(1, 1)}, {quick});
    end(slow);
    decide(row(1, 1), {});
    EXPECT_TRUE(work_.covers(row(1, 1)));
    EXPECT_FALSE(work_.covers(row(2)));
}

TEST_F(InFlight, WhatHasEndedIsNotBegunAgainForTheSameRows) {
    decide(row(1), {slow});
    decide(row(2), {quick});
    EXPECT_FALSE(work_.has_ended(link, record, {row(2)}, quick));
    end(quick);
    EXPECT_TRUE(work_.has_ended(link, record, {row(2)}, quick));
    EXPECT_FALSE(work_.has_ended(link, record, {row(3)}, quick));
    EXPECT_FALSE(work_.has_ended(link, record, {row(2), row(1, 1)}, quick));
    EXPECT_FALSE(work_.has_ended(link, record, {row(2)}, slow));
    decide(row(2), {quick});
    end(quick, true);
    decide(row(3), {quick});
    EXPECT_FALSE(work_.has_ended(link, record, {row(3)}, quick));
    end(quick, true);
    EXPECT_FALSE(work_.has_ended(link, record, {row(3)}, quick));
    end(slow);
    EXPECT_FALSE(work_.has_ended(link, record, {row(3)}, slow));
}

TEST_F(InFlight, WhatIsOnlyReadSettlesNothing) {
    work_.begin(link, record, slow);
    EXPECT_TRUE(work_.occupies(link, record, slow));
    EXPECT_FALSE(work_.covers(row(1)));
    EXPECT_TRUE(versions(end(slow)).empty());
}

TEST_F(InFlight, AnOutcomeOfNothingIsNoEnd) {
    decide(row(1), {slow});
    EXPECT_TRUE(versions(end(quick)).empty());
    EXPECT_TRUE(work_.occupies(link, record, slow));
    EXPECT_TRUE(versions(work_.end_one(2, record, slow, false)).empty());
}

TEST_F(InFlight, AMailboxWithMuchToDoIsLeftOutOfWhatIsUnderWayElsewhere) {
    constexpr int many = 600;
    work_.begin(link, record, quick);
    decide(row(1), {1000});
    for (int one = 0; one < many; ++one) {
        EXPECT_EQ(work_.begun(slow), static_cast<std::size_t>(one));
        work_.begin(link, std::to_string(one), slow);
    }
    EXPECT_TRUE(work_.has_enough(slow));
    EXPECT_FALSE(work_.has_enough(quick));
    EXPECT_EQ(work_.begun_elsewhere(link), 1U);
    EXPECT_EQ(work_.begun_elsewhere(link + 1), 0U);
    int ended = 0;
    for (; work_.has_enough(slow); ++ended) {
        work_.end_one(link, std::to_string(ended), slow, false);
    }
    EXPECT_EQ(work_.begun_elsewhere(link), static_cast<std::size_t>(many - ended + 1));
    for (; ended < many; ++ended) {
        work_.end_one(link, std::to_string(ended), slow, false);
    }
    EXPECT_EQ(work_.begun_elsewhere(link), 1U);
    end(1000);
    end(quick);
    EXPECT_EQ(work_.begun_elsewhere(link) + work_.begun(slow) + work_.begun(quick), 0U);
}

}  // namespace
}  // namespace crmsync::sync
