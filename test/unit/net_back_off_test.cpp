#include "net/back_off.h"

#include <gtest/gtest.h>

#include "net/retry_after.h"

namespace crmsync::net {

namespace {

using namespace std::chrono_literals;

TEST(BackOff, DoublesUpToTheLongest) {
    const BackOff back_off{1s, 60s, 1h};
    EXPECT_EQ(pause_after(1, back_off, 0), 1s);
    EXPECT_EQ(pause_after(2, back_off, 0), 2s);
    EXPECT_EQ(pause_after(6, back_off, 0), 32s);
    EXPECT_EQ(pause_after(7, back_off, 0), 60s);
    EXPECT_EQ(pause_after(1'000'000'000, back_off, 0), 60s);
    EXPECT_EQ(pause_after(0, back_off, 0), 1s);
    EXPECT_EQ(pause_after(-5, back_off, 0), 1s);
}

TEST(BackOff, JitterTakesAwayUpToHalf) {
    const BackOff back_off{1s, 60s, 1h};
    EXPECT_EQ(pause_after(7, back_off, 0.5), 45s);
    EXPECT_GT(pause_after(7, back_off, 0.999999), 30s - 1ms);
}

TEST(BackOff, AServersWishIsNeverUndercut) {
    const BackOff back_off{1s, 60s, 1h};
    EXPECT_EQ(pause_after(1, back_off, 0.5, 300s), 315s);
    EXPECT_EQ(pause_after(1, back_off, 0, 300s), 300s);
    EXPECT_EQ(pause_after(7, back_off, 0, 1s), 60s);
    EXPECT_EQ(pause_after(1, back_off, 0, std::chrono::hours(100'000)), 1h)
        << "nor believed blindly";
    EXPECT_EQ(pause_after(1, back_off, 0, -300s), 1s);
}

TEST(RetryAfter, TakesSecondsAndDates) {
    const std::time_t now = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT
    EXPECT_EQ(parse_retry_after("120", now), 120s);
    EXPECT_EQ(parse_retry_after(" 0 ", now), 0s);
    EXPECT_EQ(parse_retry_after("0.25", now), 250ms);
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), 60s);
    EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:50:37 GMT", now), 60s);
    EXPECT_EQ(parse_retry_after("Sun Nov  6 08:50:37 1994", now), 60s);
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:40:37 GMT", now), 0s);
    EXPECT_EQ(parse_retry_after("999999999999999999999", now), 24h);
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 2094 08:40:37 GMT", now), 24h);
}

TEST(RetryAfter, IgnoresAnythingElse) {
    for (const char* text :
         {"", " ", "-5", "soon", "1e5", "nan", "inf", "0x10", "5 s", "1.5.2", "12:99:99 x"})
        EXPECT_EQ(parse_retry_after(text, 0), std::nullopt) << text;
}

}  // namespace

}  // namespace crmsync::net
