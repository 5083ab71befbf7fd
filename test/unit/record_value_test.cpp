// Canonical values: what PostgreSQL prints becomes what Exchange would give back.
#include <gtest/gtest.h>

#include "record/content.h"
#include "record/date.h"
#include "record/text.h"
#include "record/value.h"

namespace crmsync::record {
namespace {

const Property& property(std::string_view name, Object object = Object::contact) {
    const Property* found = find_property(name, object);
    if (found == nullptr) {
        throw std::logic_error("no property " + std::string(name));
    }
    return *found;
}

std::string accepted(const Property& property, std::string_view text) {
    const Canonical result = canonical(property, text);
    EXPECT_TRUE(result.ok()) << result.problem;
    return result.value.value_or("(none)");
}

std::string refused(const Property& property, std::string_view text) {
    const Canonical result = canonical(property, text);
    EXPECT_FALSE(result.ok()) << text;
    EXPECT_FALSE(result.value) << text;
    return result.problem;
}

TEST(Text, IsTrimmedAndHasLineFeeds) {
    EXPECT_EQ(accepted(property("given_name"), "  Ann \t\r\n"), "Ann");
    EXPECT_EQ(accepted(property("business_street"), "a\r\nb\rc\nd"), "a\nb\nc\nd");
    EXPECT_EQ(accepted(property("given_name"), ""), "(none)");
    EXPECT_EQ(accepted(property("given_name"), " \n\t "), "(none)");
    EXPECT_EQ(accepted(property("notes"), "  indented\r\nsecond  \r\n\r\n"), "  indented\nsecond");
    EXPECT_EQ(accepted(property("notes"), " \r\n "), "(none)");
}

TEST(Text, ThatXmlCannotCarryIsRefusedWithWords) {
    EXPECT_EQ(refused(property("surname"), "a\x01"),
              "surname: the character U+0001 at byte 2 cannot be carried in XML");
    EXPECT_EQ(refused(property("surname"), "a\x1f"),
              "surname: the character U+001F at byte 2 cannot be carried in XML");
    EXPECT_EQ(refused(property("surname"), "\xED\xA0\x80"),  // half a surrogate
              "surname: byte 1 (0xED) is not valid UTF-8");
    EXPECT_EQ(refused(property("surname"), "ab\xFF"), "surname: byte 3 (0xFF) is not valid UTF-8");
    refused(property("surname"), "\xEF\xBF\xBF");      // U+FFFF
    refused(property("surname"), "\xEF\xBF\xBE");      // U+FFFE
    refused(property("surname"), "\xC0\xAF");          // overlong
    refused(property("surname"), "\xE0\x80\xAF");      // overlong
    refused(property("surname"), "\xF0\x80\x80\xAF");  // overlong
    refused(property("surname"), "\xE2\x82");          // cut
    refused(property("surname"), "\xF4\x90\x80\x80");  // past U+10FFFF
    refused(property("surname"), "\x80");
    refused(property("surname"), std::string_view("a\0b", 3));
    EXPECT_EQ(accepted(property("surname"), "\xF0\x9F\x98\x80 Å €"), "\xF0\x9F\x98\x80 Å €");
    EXPECT_EQ(accepted(property("surname"), "\x7F\xC2\x80"), "\x7F\xC2\x80");
}

TEST(Text, LengthIsForExchangeToJudge) {
    EXPECT_EQ(accepted(property("email_1"), std::string(300, 'a')).size(), 300u);
    EXPECT_EQ(accepted(property("given_name"), std::string(5000, 'a')).size(), 5000u);
}

TEST(Text, IsCleanedWithoutBreakingCharacters) {
    EXPECT_EQ(cleaned("a\x01"
                      "b\xFF\xC3\xA4"),
              "a\xEF\xBF\xBD"
              "b\xEF\xBF\xBD\xC3\xA4");
    EXPECT_EQ(cleaned("äää", 3), "ä");
    EXPECT_EQ(cleaned("plain", 3), "pla");
    EXPECT_EQ(cleaned("\x01\x01", 2), "");
    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; ++second) {
            const char bytes[] = {static_cast<char>(first), static_cast<char>(second), 'x'};
            EXPECT_EQ(text_problem(cleaned(std::string_view(bytes, 3))), std::nullopt);
        }
    }
}

TEST(Date, TakesTheDayAsWritten) {
    const Property& birthday = property("birthday");
    EXPECT_EQ(accepted(birthday, "1999-12-31"), "1999-12-31");
    EXPECT_EQ(accepted(birthday, " 2000-02-29 00:00:00 "), "2000-02-29");
    EXPECT_EQ(accepted(birthday, "2000-02-29 23:59:59.999+14"), "2000-02-29");
    EXPECT_EQ(accepted(birthday, "2000-02-29T23:59:59Z"), "2000-02-29");
    EXPECT_EQ(accepted(birthday, "1601-01-01"), "(none)");
    EXPECT_EQ(accepted(birthday, "4501-01-01"), "(none)");
    EXPECT_EQ(accepted(birthday, "1604-03-02"), "1604-03-02");
    EXPECT_EQ(accepted(birthday, "0001-01-01"), "0001-01-01");
}

TEST(Date, ThatDoesNotExistIsRefused) {
    for (const char* text : {"1999-02-29", "1999-13-01", "1999-00-01", "0000-01-01", "infinity",
                             "-infinity", "10000-01-01", "1999-1-1", "31.12.1999", "1999-12-31x",
                             "0044-03-15 BC", "1999-12-31 25:00", "1999-12-31T", "1999-12-31 10"}) {
        EXPECT_NE(refused(property("birthday"), text).find("is not a date"), std::string::npos);
    }
}

TEST(Timestamp, IsInUtc) {
    const Property& reminder = property("reminder_at", Object::task);
    EXPECT_EQ(accepted(reminder, "2025-03-30 01:30:00+02"), "2025-03-29T23:30:00Z");
    EXPECT_EQ(accepted(reminder, "2025-03-30 01:30:00.123456-03:30"), "2025-03-30T05:00:00Z");
    EXPECT_EQ(accepted(reminder, "2025-03-30T01:30:00"), "2025-03-30T01:30:00Z");
    EXPECT_EQ(accepted(reminder, "1883-11-18 12:00:00-04:56:02"), "1883-11-18T16:56:02Z");
    EXPECT_EQ(accepted(reminder, "2025-12-31 24:00:00Z"), "2026-01-01T00:00:00Z");
    EXPECT_EQ(accepted(reminder, "2025-03-30"), "2025-03-30T00:00:00Z");
    EXPECT_EQ(accepted(reminder, "4501-01-01T00:00:00Z"), "(none)");
    refused(reminder, "2025-03-30 01:30:00+");
    refused(reminder, "2025-03-30 01:30:00+99");
    refused(reminder, "2025-03-30 01:30:00.+02");
}

TEST(Boolean, TakesWhatPostgreSqlTakes) {
    const Property& all_day = property("all_day", Object::event);
    for (const char* text : {"t", "true", "TRUE", "yes", "on", "1", " y "}) {
        EXPECT_EQ(accepted(all_day, text), "true");
    }
    for (const char* text : {"f", "false", "no", "off", "0", "n"}) {
        EXPECT_EQ(accepted(all_day, text), "false");
    }
    refused(all_day, "maybe");
}

TEST(Integer, IsDecimal) {
    const Property& percent = property("percent_complete", Object::task);
    EXPECT_EQ(accepted(percent, " 007 "), "7");
    EXPECT_EQ(accepted(percent, "+5"), "5");
    EXPECT_EQ(accepted(percent, "-3"), "-3");
    for (const char* text : {"5.5", "5x", "+", "--1", "99999999999999999999"}) {
        refused(percent, text);
    }
}

TEST(Choice, IsOneOfTheWords) {
    EXPECT_EQ(accepted(property("gender"), "Female"), "female");
    EXPECT_EQ(accepted(property("importance"), " HIGH "), "high");
    EXPECT_EQ(refused(property("gender"), "f"),
              "gender: \"f\" is not one of unspecified,female,male");
    refused(property("gender"), "female,male");
    refused(property("gender"), ",");
}

TEST(TextList, HasOneSpelling) {
    const Property& categories = property("categories");
    EXPECT_EQ(accepted(categories, R"(["b","a","b"," "])"), R"(["a","b"])");
    EXPECT_EQ(accepted(categories, R"({b,"a \"x\", y",NULL,"NULL",""})"),
              R"(["NULL","a \"x\", y","b"])");
    EXPECT_EQ(accepted(categories, R"({"back\\slash"})"), R"(["back\\slash"])");
    EXPECT_EQ(accepted(categories, "one, not two"), R"(["one, not two"])");
    EXPECT_EQ(accepted(categories, "{}"), "(none)");
    EXPECT_EQ(accepted(categories, "[]"), "(none)");
    for (const char* text :
         {"[", "[1]", "[[\"a\"]]", "{{a},{b}}", "{\"a}", "{a", "[\"\\u0001\"]", "[\"\\ud800\"]"}) {
        refused(categories, text);
    }
    refused(categories, std::string(100'000, '['));
    EXPECT_EQ(read_text_list(R"(["a","b"])"), (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(read_text_list("nonsense").empty());
}

TEST(Binary, IsADescriptionOfAPicture) {
    const Property& photo = property("photo");
    const std::string digest(64, 'a');
    const auto described = [&](const std::string& first, const std::string& size = "10") {
        return first + ", " + size + " bytes, sha256 " + digest;
    };
    EXPECT_EQ(accepted(photo, described("ffd8ffe000104a46")), described("image/jpeg"));
    EXPECT_EQ(accepted(photo, described("89504e470d0a1a0a")), described("image/png"));
    EXPECT_EQ(accepted(photo, described("4749463839610100")), described("image/gif"));
    EXPECT_EQ(accepted(photo, described("424d3600")), described("image/bmp"));
    EXPECT_EQ(accepted(photo, described("image/png", "1048576")),
              described("image/png", "1048576"));
    for (const std::string& text :
         {described("ffd8"), described("unknown"), described("image/png", "1048577"),
          described("image/png", "x"), std::string("image/png, 10 bytes"), std::string("QUJD"),
          described("image/png") + "0", described("image/png").substr(0, 90)}) {
        refused(photo, text);
    }
    EXPECT_EQ(canonical(photo, "ffd8ff, 1048577 bytes").problem,
              "photo: has 1048577 bytes, and 1048576 are the most");
    EXPECT_EQ(canonical(photo, described("25504446")).problem,
              "photo: is no JPEG, PNG, GIF or BMP");
}

TEST(Content, IsDescribedByItsBytes) {
    // printf '\xff\xd8\xff\xe0picture' | sha256sum
    const std::string jpeg =
        "image/jpeg, 11 bytes, sha256 "
        "c12470f1946c8ab60eef41870d5a4bb5678228ebc8eb9d58de06b2c3536af40f";
    EXPECT_EQ(describe("/9j/4HBpY3R1cmU="), jpeg);
    EXPECT_EQ(describe("/9j/\r\n 4HBpY3R1cmU=\n"), jpeg);
    EXPECT_EQ(canonical(property("photo"), jpeg).value, jpeg);
    EXPECT_EQ(describe("QUI=")->substr(0, 16), "unknown, 2 bytes");
    EXPECT_FALSE(describe("QUI"));
    EXPECT_FALSE(describe("Q!=="));
    EXPECT_EQ(describe("")->substr(0, 16), "unknown, 0 bytes");
}

TEST(Value, NoneIsWhatExchangeHoldsThen) {
    EXPECT_TRUE(same_value(property("importance"), {}, "normal"));
    EXPECT_FALSE(same_value(property("importance"), {}, "low"));
    EXPECT_TRUE(same_value(property("gender"), "unspecified", {}));
    EXPECT_FALSE(same_value(property("given_name"), {}, "normal"));
    EXPECT_TRUE(same_value(property("given_name"), "a", "a"));
}

TEST(Value, CanonicalIsStable) {
    for (const Property& row : properties()) {
        for (const char* text :
             {"a  b", "2001-02-03", "true", "12", "normal", "[\"x\"]",
              "ffd8ff, 10 bytes, sha256 "
              "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}) {
            const Canonical once = canonical(row, text);
            if (once.ok() && once.value) {
                EXPECT_EQ(canonical(row, *once.value).value, once.value) << row.name;
            }
        }
    }
}

}  // namespace
}  // namespace crmsync::record
