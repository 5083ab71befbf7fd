#include "sync/stamp.h"

#include <gtest/gtest.h>

#include "record/record.h"
#include "sync/stamp_list.h"

namespace crmsync::sync {
namespace {

using Page = StampList::Page;

TEST(Stamp, NamesInstanceLinkAndKey) {
    EXPECT_EQ(make_stamp("abc", "people", "42"), "abc/people/42");
}

TEST(Stamp, PartsCannotBeMistakenForOthers) {
    EXPECT_NE(make_stamp("i", "a/b", "c"), make_stamp("i", "a", "b/c"));
    EXPECT_NE(make_stamp("i", "a%2Fb", "c"), make_stamp("i", "a/b", "c"));
}

TEST(Stamp, KeysComeBackAsTheyWere) {
    const std::string prefix = make_stamp("i", "a link/with %", "");
    for (const std::string key : {"1", "a/b", "100%", "%2F", "with blank ", " ", "tab\tand\nline",
                                  "\xC3\xA4\xE2\x82\xAC", "//", "%"}) {
        const std::string stamp = make_stamp("i", "a link/with %", key);
        EXPECT_TRUE(stamp.starts_with(prefix));
        EXPECT_EQ(key_of_stamp(stamp, prefix), key);
    }
}

TEST(Stamp, ForeignOrBrokenOnesHaveNoKey) {
    const std::string prefix = make_stamp("i", "people", "");
    for (const std::string stamp :
         {"", "i/people", "i/people/", "i/peoples/1", "j/people/1", "i/people/1/2", "i/people/%",
          "i/people/%2", "i/people/%zz", "people/1"}) {
        EXPECT_FALSE(key_of_stamp(stamp, prefix)) << stamp;
    }
    EXPECT_FALSE(key_of_stamp("i/people/1", ""));
}

TEST(Stamp, WhatNoTableHoldsIsNoKey) {
    const std::string prefix = make_stamp("i", "people", "");
    const std::string longest(record::longest_kept_key, 'x');
    EXPECT_EQ(key_of_stamp(prefix + longest, prefix), longest);
    EXPECT_FALSE(key_of_stamp(prefix + longest + "x", prefix));
    EXPECT_EQ(key_of_stamp(prefix + "\xEF\xBF\xBF%01", prefix), "\xEF\xBF\xBF\x01");
    for (const std::string key : {"%FF", "17%00", "\xFF", "\xED\xA0\xBD", "\xC3"}) {
        EXPECT_FALSE(key_of_stamp(prefix + key, prefix)) << key;
    }
}

TEST(Stamp, IsWrittenInOneWayOnly) {
    const std::string prefix = make_stamp("i", "people", "");
    for (const std::string key : {"%31", "%2f", "a b", "tab\t", "1%7f"}) {
        EXPECT_FALSE(key_of_stamp(prefix + key, prefix)) << key;
    }
}

exchange::Answer page(std::initializer_list<const char*> ids, int next_offset, bool complete) {
    exchange::Answer answer;
    for (const std::string id : ids) {
        answer.items.push_back({{id, "v1"}, {}, "i/l/" + id, {}, {}});
    }
    answer.next_offset = next_offset;
    answer.complete = complete;
    return answer;
}

Page take(StampList& list, const exchange::Answer& answer) {
    return list.take(list.next_page("folder"), answer, "i/l/");
}

TEST(StampList, IsCompleteOnlyAfterTheLastPage) {
    StampList list;
    EXPECT_FALSE(list.complete());
    EXPECT_EQ(take(list, page({"a", "b", "c", "d"}, 4, false)), Page::taken);
    EXPECT_FALSE(list.complete());
    EXPECT_EQ(list.next_page("folder").offset, 2) << "pages overlap";
    EXPECT_EQ(take(list, page({"c", "d", "e"}, 5, true)), Page::taken);
    EXPECT_TRUE(list.complete());
    EXPECT_EQ(list.claim("i/l/a")->item.id, "a");
    EXPECT_FALSE(list.claim("i/l/a"));
    EXPECT_EQ(list.take_unclaimed().size(), 4u);
    list.doubt();
    EXPECT_FALSE(list.complete());
}

TEST(StampList, SaysWhichRequestMadeAnItem) {
    exchange::Answer answer = page({"a", "b", "c"}, 3, true);
    answer.items[0].attempt = 1;
    answer.items[1].attempt = 2;
    StampList list;
    take(list, answer);
    EXPECT_EQ(list.claim("i/l/a")->attempt, 1);
    EXPECT_TRUE(exchange::was_adopted(*list.claim("i/l/c")));
    EXPECT_EQ(list.take_unclaimed().at(0).attempt, 2);
}

TEST(StampList, StartsAgainWhenThePagesDoNotMeet) {
    StampList list;
    take(list, page({"a", "b", "c", "d"}, 4, false));
    // Several of the first four were deleted: what moved forward past the overlap was not seen.
    EXPECT_EQ(take(list, page({"g", "h"}, 4, true)), Page::moved);
    EXPECT_FALSE(list.complete());
    EXPECT_EQ(list.next_page("folder").offset, 0);
    EXPECT_EQ(take(list, page({"d", "e", "f", "g", "h"}, 5, true)), Page::taken);
    EXPECT_FALSE(list.claim("i/l/a")) << "what was read before does not count";
    EXPECT_TRUE(list.claim("i/l/f"));
}

TEST(StampList, IgnoresPagesOfAListThatWasGivenUp) {
    StampList list;
    take(list, page({"a", "b", "c", "d"}, 4, false));
    const exchange::ListStamps asked = list.next_page("folder");
    list.restart();
    EXPECT_EQ(list.take(asked, page({"d", "e"}, 5, true), "i/l/"), Page::unwanted);
    EXPECT_FALSE(list.complete());
}

TEST(StampList, NoticesAServerThatDoesNotGoOn) {
    StampList list;
    take(list, page({"a", "b"}, 2, false));
    EXPECT_EQ(take(list, page({"b"}, 2, false)), Page::stuck);
    EXPECT_FALSE(list.complete());
}

TEST(StampList, ComesToAnEndWithPagesOfOne) {
    StampList list;
    EXPECT_EQ(take(list, page({"a"}, 1, false)), Page::taken);
    EXPECT_EQ(take(list, page({"b"}, 2, false)), Page::taken);
    EXPECT_EQ(take(list, page({}, 2, true)), Page::taken);
    EXPECT_TRUE(list.complete());
}

TEST(StampList, KnowsThatLongStampsAreCut) {
    const std::string cut = "i/l/" + std::string(251, 'x');
    exchange::Answer answer;
    answer.items.push_back({{"a", "v1"}, {}, cut, {}, {}});
    StampList list;
    list.take(list.next_page("folder"), answer, "i/l/");
    EXPECT_TRUE(list.may_hold_cut(cut + "tail"));
    EXPECT_FALSE(list.may_hold_cut(cut.substr(0, 200)));
    EXPECT_TRUE(list.take_unclaimed().empty());
}

}  // namespace
}  // namespace crmsync::sync
