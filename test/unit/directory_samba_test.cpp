// The directory layer against Active Directory as Samba speaks it. Without the variable
// CRMSYNC_TEST_AD (the administrator's password) the tests are skipped;
// test/directory/active_directory.pl runs them, and test/directory/samba says what the directory
// holds.
#include <cstdlib>
#include <set>

#include <gtest/gtest.h>

#include "directory/account.h"
#include "directory/attribute.h"
#include "directory/check.h"
#include "directory/group.h"
#include "directory/search.h"
#include "directory/server_kind.h"
#include "directory_support.h"

namespace crmsync::directory {
namespace {

using test::never;
constexpr const char* root = "DC=ad,DC=test";
constexpr const char* staff = "OU=staff,DC=ad,DC=test";
constexpr const char* users = "(&(objectCategory=person)(objectClass=user))";

class ActiveDirectory : public testing::Test {
  protected:
    void SetUp() override {
        const char* password = std::getenv("CRMSYNC_TEST_AD");
        if (password == nullptr) {
            GTEST_SKIP() << "CRMSYNC_TEST_AD is not set; see test/directory/active_directory.pl";
        }
        server_.url = "ldaps://127.0.0.1";
        server_.username = "administrator@ad.test";
        server_.secret = password;
        server_.tls_verify = false;  // Samba makes itself a certificate
        server_.timeout = std::chrono::seconds(20);
    }

    std::set<std::string> members(const std::string& group, bool nested) {
        Connection connection(server_, never);
        const ServerKind kind = probe(connection);
        const MemberQuery query{root, users, nested, 100};
        GroupReader reader(connection, kind, query);
        std::set<std::string> found;
        reader.read(group, [&](MemberForm, std::string_view member) { found.emplace(member); });
        return found;
    }

    Server server_;
};

TEST_F(ActiveDirectory, IsRecognised) {
    Connection connection(server_, never);
    const ServerKind kind = probe(connection);
    EXPECT_TRUE(kind.is_active_directory);
    EXPECT_EQ(kind.key_attribute, "objectGUID");
    EXPECT_EQ(kind.page_size, 1000);
    EXPECT_TRUE(kind.supports_paging);
}

TEST_F(ActiveDirectory, RefusesPasswordsInTheClear) {
    server_.url = "ldap://127.0.0.1";
    try {
        const Connection connection(server_, never);
        ADD_FAILURE() << "bound";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::credentials);
        EXPECT_NE(error.hint().find("encrypted"), std::string::npos) << error.hint();
    }
    server_.start_tls = true;
    EXPECT_TRUE(Connection(server_, never).uses_tls());
}

TEST_F(ActiveDirectory, UsersComeInPagesWithTheirKeyAndState) {
    Connection connection(server_, never);
    Query query;
    query.base = staff;
    query.filter = users;
    query.attributes = {"objectGUID", "sAMAccountName", "userAccountControl"};
    query.page_size = 7;
    std::set<std::string> keys;
    std::set<std::string> disabled;
    search(connection, query, [&](const Entry& entry) {
        ASSERT_NE(entry.find("objectGUID"), nullptr);
        const std::string key = value_text("objectGUID", entry.find("objectGUID")->values.at(0));
        EXPECT_EQ(key.size(), 36u);
        keys.insert(key);
        AccountState state(std::chrono::system_clock::now());
        state.consider("userAccountControl", entry.find("userAccountControl")->values.at(0));
        if (!state.enabled()) {
            disabled.insert(std::string(entry.find("sAMAccountName")->values.at(0)));
        }
    });
    EXPECT_EQ(keys.size(), 60u);
    EXPECT_EQ(disabled, std::set<std::string>{"ad002"});

    // The text form is the one that the server itself understands.
    query.filter = "(objectGUID=" + guid_filter_value(*keys.begin()) + ")";
    EXPECT_EQ(search(connection, query, [](const Entry&) {}), 1u);
}

TEST_F(ActiveDirectory, ReferencesToOtherContextsAreKnown) {
    Connection connection(server_, never);
    Query query;
    query.base = root;
    query.filter = users;
    query.attributes = {"objectGUID"};
    EXPECT_THROW(search(connection, query, [](const Entry&) {}), Error);
    query.ignore_references = true;
    EXPECT_GE(search(connection, query, [](const Entry&) {}), 60u);
}

TEST_F(ActiveDirectory, LargeGroupsComeInRanges) {
    EXPECT_EQ(members("big", false).size(), 1800u);
}

TEST_F(ActiveDirectory, GroupsWithinGroupsAndPrimaryGroups) {
    EXPECT_EQ(members("everyone", false).size(), 50u);
    EXPECT_EQ(members("outer", false).size(), 2u);
    const auto nested = members("CN=outer," + std::string(staff), true);
    EXPECT_EQ(nested.size(), 52u);  // the group everyone itself, its 50, and one more
    EXPECT_TRUE(nested.contains("cn=person 001,ou=staff,dc=ad,dc=test"));
    EXPECT_TRUE(members("Domain Users", false).contains("cn=person 001,ou=staff,dc=ad,dc=test"));
}

TEST_F(ActiveDirectory, PassesItsCheck) {
    for (const Step& step : check(server_, staff, users, never)) {
        EXPECT_TRUE(step.ok) << step.name << ": " << step.detail << " " << step.hint;
    }
}

}  // namespace
}  // namespace crmsync::directory
