#include "sync/categories.h"

#include <gtest/gtest.h>

namespace crmsync::sync {
namespace {

TEST(Categories, WithoutARuleAllAreWanted) {
    EXPECT_TRUE(are_wanted({}, {}));
    EXPECT_TRUE(are_wanted({}, {"CRM"}));
}

TEST(Categories, OneOfThoseThatAreNamedIsEnough) {
    const Categories rule{{"crm", "sales"}, {}};
    EXPECT_TRUE(are_wanted(rule, {"Friends", "CRM"}));
    EXPECT_FALSE(are_wanted(rule, {"Friends"}));
    EXPECT_FALSE(are_wanted(rule, {}));
}

TEST(Categories, OneOfThoseThatAreExcludedIsTooMuch) {
    const Categories rule{{"crm"}, {"private"}};
    EXPECT_FALSE(are_wanted(rule, {"CRM", "Private"}));
    EXPECT_TRUE(are_wanted(rule, {"CRM"}));
    EXPECT_FALSE(are_wanted({{}, {"private"}}, {"private"}));
    EXPECT_TRUE(are_wanted({{}, {"private"}}, {}));
}

TEST(Categories, SpacesAndCaseMakeNoDifference) {
    EXPECT_EQ(category_name(" Blue Category "), "blue category");
}

}  // namespace
}  // namespace crmsync::sync
