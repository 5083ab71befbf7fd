// Rows alike, on both sides in whichever order: which is which.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include "record/row_order.h"

namespace crmsync::record {
namespace {

// "A B -": a row for each word, '-' for none.
std::vector<RowValues> rows_of(const std::string& words) {
    std::vector<RowValues> rows;
    for (std::size_t at = 0; at < words.size(); at += 2) {
        rows.push_back({words[at] == '-' ? Value() : Value(words.substr(at, 1))});
    }
    return rows;
}

// The rows in the order that row_order gives them.
std::string ordered(const std::string& agreed, const std::string& other, const std::string& rows) {
    std::string result;
    for (const std::size_t row : row_order(rows_of(agreed), rows_of(other), rows_of(rows))) {
        result += (result.empty() ? "" : " ") + rows.substr(2 * row, 1);
    }
    return result;
}

TEST(RowOrder, UnchangedRowsStay) {
    EXPECT_EQ(ordered("A B", "A B", "A B"), "A B");
    EXPECT_EQ(ordered("A -", "A -", "A -"), "A -");
    EXPECT_EQ(ordered("- -", "- -", "- -"), "- -");
    EXPECT_EQ(ordered("A A", "A A", "A A"), "A A");
}

TEST(RowOrder, AChangedRowStaysInItsPlace) {
    EXPECT_EQ(ordered("A B", "A B", "X B"), "X B");
    EXPECT_EQ(ordered("A B", "A B", "X Y"), "X Y");
    EXPECT_EQ(ordered("A -", "A -", "A X"), "A X");
}

TEST(RowOrder, RowsThatMovedUpAreKnown) {
    EXPECT_EQ(ordered("A B", "A B", "B -"), "- B");
    EXPECT_EQ(ordered("A B C", "A B C", "B C -"), "- B C");
    EXPECT_EQ(ordered("A B -", "A B -", "B X -"), "- B X") << "a new one takes a free place";
    EXPECT_EQ(ordered("A B", "A B", "B X"), "X B") << "or that of one that is gone";
}

TEST(RowOrder, ASwapIsNoChange) {
    EXPECT_EQ(ordered("A B", "A B", "B A"), "A B");
}

TEST(RowOrder, ARowThatIsNewOnBothSidesIsOne) {
    EXPECT_EQ(ordered("- -", "A -", "B A"), "A B");
    EXPECT_EQ(ordered("A - -", "A X -", "A Y X"), "A X Y");
}

TEST(RowOrder, RowsThatAreNewOnBothSidesHaveRoomBesideEachOther) {
    EXPECT_EQ(ordered("- - -", "A - -", "B - -"), "- B -");
    EXPECT_EQ(ordered("A - -", "A B -", "A C -"), "A - C");
    EXPECT_EQ(ordered("- - -", "A - -", "B C -"), "- C B");
    EXPECT_EQ(ordered("- -", "A B", "C -"), "C -") << "there is no room";
    EXPECT_EQ(ordered("A - -", "X - -", "Y - -"), "Y - -") << "it is the same row";
    EXPECT_EQ(ordered("- -", "a -", "A -"), "A -") << "capitals do not make another";
    const std::vector<RowValues> nothing{{{}, {}}, {{}, {}}};
    EXPECT_EQ(row_order(nothing, {{"Street", {}}, {{}, {}}}, {{{}, "City"}, {{}, {}}}),
              (std::vector<std::size_t>{0, 1}))
        << "nor does what only one side has";
}

TEST(RowOrder, ANewRowStaysWhereItIsToldTo) {
    const std::vector<RowValues> none{{Value()}, {Value()}};
    const std::vector<RowValues> new_one{{"user's"}, {Value()}};
    EXPECT_EQ(row_order(none, {{"crm's"}, {Value()}}, new_one), (std::vector<std::size_t>{1, 0}));
    EXPECT_EQ(row_order(none, {{"crm's"}, {Value()}}, new_one, NewRows::stay),
              (std::vector<std::size_t>{0, 1}));
}

TEST(RowOrder, RowsOfSeveralColumnsAreKnownByAll) {
    const std::vector<RowValues> agreed{{"Street", "Town"}, {"Street", "City"}};
    EXPECT_EQ(row_order(agreed, agreed, {{"Street", "City"}, {"Road", "Town"}}),
              (std::vector<std::size_t>{1, 0}));
}

TEST(RowOrder, NamesEveryRowOnce) {
    std::mt19937 random(1);
    const auto any = [&] {
        std::vector<RowValues> rows(4);
        for (RowValues& row : rows) {
            const auto letter = static_cast<char>('A' + random() % 5);
            row = {letter == 'E' ? Value() : Value(std::string(1, letter))};
        }
        return rows;
    };
    std::vector<std::size_t> all(4);
    std::iota(all.begin(), all.end(), std::size_t{0});
    for (int i = 0; i < 2000; ++i) {
        std::vector<std::size_t> order = row_order(any(), any(), any());
        std::sort(order.begin(), order.end());
        ASSERT_EQ(order, all);
    }
}

}  // namespace
}  // namespace crmsync::record
