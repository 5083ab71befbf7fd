// Attribute values and names, without a server.
#include "directory/account.h"
#include "directory/attribute.h"

#include <gtest/gtest.h>

#include "directory/error.h"
#include "directory/name.h"
#include "directory/search.h"

namespace crmsync::directory {
namespace {

using std::string_literals::operator""s;

TEST(Attribute, OptionsAreNoPartOfTheName) {
    EXPECT_EQ(base_name("member;range=0-1499"), "member");
    EXPECT_EQ(base_name("userCertificate;binary"), "userCertificate");
    EXPECT_EQ(base_name("cn"), "cn");
    EXPECT_TRUE(same_name("sAMAccountName", "samaccountname"));
    EXPECT_FALSE(same_name("cn", "cn2"));
}

TEST(Attribute, IsFoundByItsNameWithoutOptions) {
    Entry entry;
    entry.attributes = {{"cname", {"no"}}, {"CN;lang-de", {"yes"}}, {"c", {"no"}}, {"sn", {"old"}}};
    entry.attribute_count = 3;
    ASSERT_NE(entry.find("cn"), nullptr);
    EXPECT_EQ(entry.find("cn")->values.front(), "yes");
    EXPECT_EQ(entry.find("cna"), nullptr);
    EXPECT_EQ(entry.find("sn"), nullptr) << "left over from the entry before";
}

// MS-DTYP 2.3.4: the first three groups are stored with their least significant byte first.
TEST(Attribute, GuidIsPrintedInItsCanonicalForm) {
    const std::string bytes("\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    EXPECT_EQ(value_text("objectGUID", bytes), "00112233-4455-6677-8899-aabbccddeeff");
    EXPECT_EQ(value_text("OBJECTGUID;binary", bytes), "00112233-4455-6677-8899-aabbccddeeff");
    EXPECT_EQ(guid_filter_value("00112233-4455-6677-8899-aabbccddeeff"),
              "\\33\\22\\11\\00\\55\\44\\77\\66\\88\\99\\aa\\bb\\cc\\dd\\ee\\ff");
    EXPECT_THROW(guid_filter_value("00112233-4455-6677-8899-aabbccddee"), Error);
    EXPECT_THROW(guid_filter_value("zz112233-4455-6677-8899-aabbccddeeff"), Error);
}

TEST(Attribute, EntryUuidIsTextAlready) {
    EXPECT_EQ(value_text("entryUUID", "6a1f0e1a-0000-1000-8000-0123456789ab"),
              "6a1f0e1a-0000-1000-8000-0123456789ab");
}

TEST(Attribute, SidIsPrintedAsPeopleWriteIt) {
    const std::string bytes("\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x20\x02\x00\x00", 16);
    EXPECT_EQ(value_text("objectSid", bytes), "S-1-5-32-544");
}

TEST(Attribute, BinaryValuesAreWhatByteaReads) {
    EXPECT_EQ(value_text("jpegPhoto", "\xff\xd8\x00"s), "\\xffd800");
    EXPECT_EQ(value_text("description", "caf\xe9"), "\\x636166e9");
    EXPECT_EQ(value_text("description", "caf\xc3\xa9"), "caf\xc3\xa9");
    EXPECT_TRUE(is_plain_text("description", "plain"));
    EXPECT_FALSE(is_plain_text("jpegPhoto", "plain"));
}

TEST(Attribute, Utf8IsCheckedAsPostgresqlDoes) {
    EXPECT_TRUE(is_utf8(""));
    EXPECT_TRUE(is_utf8("\xf0\x9f\x98\x80"));
    EXPECT_FALSE(is_utf8("\0"s));
    EXPECT_FALSE(is_utf8("\xc0\xaf"));          // overlong
    EXPECT_FALSE(is_utf8("\xed\xa0\x80"));      // half a surrogate
    EXPECT_FALSE(is_utf8("\xf4\x90\x80\x80"));  // beyond Unicode
    EXPECT_FALSE(is_utf8("\xe2\x82"));          // cut off
    EXPECT_FALSE(is_utf8("\x80"));
}

TEST(Attribute, FilterValuesAreEscaped) {
    EXPECT_EQ(escape_filter_value("a*(b)\\c"), "a\\2a\\28b\\29\\5cc");
    EXPECT_EQ(escape_filter_value("a\0b"s), "a\\00b");
    EXPECT_EQ(escape_filter_value("Zo\xc3\xab"), "Zo\xc3\xab");
    EXPECT_EQ(escape_filter_value("\xff"), "\\ff");
}

bool enabled(std::string_view name, std::string_view value) {
    AccountState state(std::chrono::system_clock::from_time_t(1'700'000'000));
    state.consider(name, value);
    return state.enabled();
}

TEST(AccountState, ReadsWhatEachDirectoryHas) {
    EXPECT_TRUE(enabled("userAccountControl", "512"));
    EXPECT_FALSE(enabled("userAccountControl", "514"));
    EXPECT_FALSE(enabled("useraccountcontrol", "-2147483134"));
    EXPECT_FALSE(enabled("nsAccountLock", "TRUE"));
    EXPECT_FALSE(enabled("nsAccountLock", "true"));
    EXPECT_TRUE(enabled("nsAccountLock", "FALSE"));
    EXPECT_FALSE(enabled("pwdAccountLockedTime", "000001010000Z"));
    EXPECT_TRUE(enabled("pwdAccountLockedTime", "20260101120000Z"));  // ends by itself
    EXPECT_FALSE(enabled("accountUnlockTime", "19700101000000Z"));
    EXPECT_TRUE(enabled("accountUnlockTime", "20260101120000Z"));  // ends by itself
    EXPECT_FALSE(enabled("ds-pwp-account-disabled", "true"));
    EXPECT_FALSE(enabled("msDS-UserAccountDisabled", "TRUE"));
    EXPECT_TRUE(enabled("msDS-UserAccountDisabled", "FALSE"));
    EXPECT_TRUE(enabled("accountExpires", "0"));
    EXPECT_TRUE(enabled("accountExpires", "9223372036854775807"));
    EXPECT_FALSE(enabled("accountExpires", "132000000000000000"));  // 2019
    EXPECT_TRUE(enabled("accountExpires", "160000000000000000"));   // 2108
    EXPECT_TRUE(enabled("cn", "disabled"));
}

TEST(Name, SaysWhatItsFirstPartIs) {
    EXPECT_EQ(rdn_value("UID=anna+cn=Anna A,ou=x", "uid"), "anna");
    EXPECT_EQ(rdn_value("uid=anna+cn=Anna\\, A,ou=x", "CN"), "Anna, A");
    EXPECT_EQ(rdn_value("uid=anna,ou=x", "ou"), std::nullopt);
    EXPECT_EQ(rdn_value("", "ou"), std::nullopt);
}

Entry entry_of(std::vector<Attribute> attributes) {
    Entry entry;
    entry.attribute_count = attributes.size();
    entry.attributes = std::move(attributes);
    return entry;
}

TEST(Attribute, IsPreferredToItsVariants) {
    const Entry entry = entry_of({{"sn;lang-ja", {"variant"}},
                                  {"sn", {"value"}},
                                  {"cn;lang-fr", {"later"}},
                                  {"cn;lang-de", {"first"}},
                                  {"member", {}},
                                  {"member;range=0-1", {"in ranges"}}});
    EXPECT_EQ(entry.find("sn")->values.front(), "value");
    EXPECT_EQ(entry.find("sn;lang-ja")->values.front(), "variant");
    EXPECT_EQ(entry.find("cn")->values.front(), "first");
    EXPECT_EQ(entry.find("member")->values.front(), "in ranges");
}

TEST(AccountState, UsersOfActiveDirectoryMustShowIt) {
    ServerKind kind;
    const Entry user = entry_of({{"objectClass", {"top", "person", "User"}}});
    EXPECT_FALSE(hides_account_state(kind, user));
    kind.is_active_directory = true;
    EXPECT_TRUE(hides_account_state(kind, user));
    EXPECT_TRUE(hides_account_state(kind, entry_of({{"cn", {"Anna"}}})));
    EXPECT_FALSE(hides_account_state(kind, entry_of({{"objectClass", {"person", "contact"}}})));
    EXPECT_FALSE(hides_account_state(
        kind, entry_of({{"objectClass", {"user"}}, {"userAccountControl", {"512"}}})));
    kind.is_lightweight = true;
    EXPECT_FALSE(hides_account_state(kind, user));
}

TEST(Name, SpellingDoesNotMatter) {
    const std::string name = normalise_dn("uid=anna,ou=people,dc=example,dc=com");
    EXPECT_EQ(normalise_dn("UID=Anna, OU=People, DC=Example, DC=com"), name);
    EXPECT_EQ(normalise_dn("uid = anna,ou=people,dc=example,dc=com"), name);
    EXPECT_NE(normalise_dn("uid=anne,ou=people,dc=example,dc=com"), name);
    EXPECT_EQ(normalise_dn("cn=a\\2Cb,dc=x"), normalise_dn("cn=a\\,b,dc=x"));
    EXPECT_EQ(normalise_dn("cn=a+sn=b,dc=x"), normalise_dn("sn=B+cn=A,dc=x"));
    EXPECT_EQ(normalise_dn("cn=a  b,dc=x"), normalise_dn("cn=a b,dc=x"));
    EXPECT_EQ(normalise_dn("Not A Name"), "not a name");
    EXPECT_EQ(normalise_dn("ou=Z\u00dcRICH \u0416,dc=x"),
              normalise_dn("OU=z\u00fcrich \u0436,dc=x"));
    EXPECT_EQ(normalise_dn("ou=Z\\C3\\9CRICH,dc=x"), normalise_dn("ou=z\u00fcrich,dc=x"));
    EXPECT_NE(normalise_dn("ou=Z\u00dcRICH,dc=x"), normalise_dn("ou=zurich,dc=x"));
    EXPECT_NE(normalise_dn("ou=\u0130,dc=x"), normalise_dn("ou=i,dc=x"));
    EXPECT_EQ(normalise_dn("ou=\u023a\U0001f389,dc=x"), normalise_dn("ou=\u2c65\U0001f389,dc=x"));
    EXPECT_EQ(normalise_dn("ou=\\ff,dc=x"), normalise_dn("OU=\\FF,dc=x"));
}

TEST(Name, KnowsWhatLiesBelow) {
    EXPECT_TRUE(lies_below("uid=a,ou=People,dc=x", "OU=people,dc=X"));
    EXPECT_TRUE(lies_below("dc=x", "dc=x"));
    EXPECT_TRUE(lies_below("dc=x", ""));
    EXPECT_FALSE(lies_below("uid=a,ou=mypeople,dc=x", "ou=people,dc=x"));
    EXPECT_FALSE(lies_below("dc=x", "ou=people,dc=x"));
    EXPECT_TRUE(is_dn("cn=staff,dc=x"));
    EXPECT_FALSE(is_dn("staff"));
    EXPECT_FALSE(is_dn(""));
}

}  // namespace
}  // namespace crmsync::directory
