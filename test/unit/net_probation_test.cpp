// One request at a time while nobody knows whether the credentials are right.
#include "net/probation.h"

#include <gtest/gtest.h>

namespace crmsync::test {

namespace {

using namespace std::chrono_literals;

class ProbationTest : public testing::Test {
  protected:
    bool may_start() const { return probation.next_start(now, under_way) == now; }

    void start() {
        probation.begin(now, under_way);
        ++under_way;
    }

    void accept(net::Probation::Time began) {
        probation.accepted(began, now);
        --under_way;
    }

    void refuse() {
        probation.refused(now);
        --under_way;
    }

    net::Probation probation;
    net::Probation::Time now = net::Probation::Time() + 1h;
    std::size_t under_way = 0;
};

TEST_F(ProbationTest, OneTriesAndTheOthersFollowAtOnce) {
    ASSERT_TRUE(may_start());
    start();
    EXPECT_FALSE(may_start());
    now += 30ms;
    accept(now - 30ms);
    for (int i = 0; i < 8; ++i) {
        EXPECT_TRUE(may_start());
        start();
    }
}

TEST_F(ProbationTest, ARefusalBeginsItAgainWhateverIsAnsweredThatBeganBefore) {
    start();
    accept(now);
    const auto before = now;
    for (int i = 0; i < 3; ++i)
        start();
    now += 50ms;
    refuse();
    EXPECT_FALSE(may_start());
    accept(before);
    EXPECT_FALSE(may_start());
    refuse();
    ASSERT_TRUE(may_start()) << "nothing is under way";
    start();
    EXPECT_FALSE(may_start());
    now += 50ms;
    accept(now - 50ms);
    start();
    EXPECT_TRUE(may_start());
}

TEST_F(ProbationTest, OneThatHangsKeepsTheOthersForAShortWhile) {
    const auto began = now;
    for (const auto pause : {2s, 4s, 8s, 16s}) {
        ASSERT_TRUE(may_start());
        start();
        EXPECT_EQ(probation.next_start(now, under_way), now + pause);
        now += pause;
    }
    accept(began);
    start();
    EXPECT_TRUE(may_start());
}

TEST_F(ProbationTest, AfterASilenceOneTriesAgain) {
    start();
    accept(now);
    now += 9s;
    start();
    EXPECT_TRUE(may_start());
    now += 2s;
    start();
    EXPECT_FALSE(may_start());
    accept(now);
    EXPECT_TRUE(may_start());
}

}  // namespace

}  // namespace crmsync::test
