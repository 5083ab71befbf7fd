// Groups of Active Directory whose members an account may see only in part.
#include "directory/group.h"

#include <set>

#include <gtest/gtest.h>

#include "directory_support.h"
#include "net_server.h"

namespace crmsync::directory {
namespace {

using test::answer_to;
using test::never;
using test::search_done;

constexpr const char* group = "cn=staff,dc=example,dc=com";
constexpr const char* member = "cn=somebody,dc=example,dc=com";

std::string element(char tag, const std::string& content) {
    return tag + std::string(1, static_cast<char>(content.size())) + content;
}

// The group as a search shows it that asks for one attribute.
std::string shown(char request, const std::string& attribute, const std::string& value) {
    const std::string attributes =
        value.empty()
            ? ""
            : element('\x30', element('\x04', attribute) + element('\x31', element('\x04', value)));
    return element('\x30',
                   element('\x02', std::string(1, request)) +
                       element('\x64', element('\x04', group) + element('\x30', attributes)));
}

// Reads the group, of this class, from a server that shows no objectSid.
std::set<std::string> members_of_class(const std::string& object_class, const ServerKind& kind) {
    const test::Server there([&](test::Connection& connection) {
        std::string question;
        for (char request = 1; !(question = connection.read_some()).empty(); ++request) {
            std::string answer = shown(request, "objectSid", "");
            if (question.ends_with("objectClass")) {
                answer = shown(request, "objectClass", object_class);
            } else if (question.ends_with("member")) {
                answer = shown(request, "member", member);
            }
            connection.write(answer + answer_to(request, search_done));
        }
    });
    Server server;
    server.url = "ldap://127.0.0.1:" + std::to_string(there.port());
    server.auth = Auth::none;
    server.timeout = std::chrono::seconds(5);
    Connection connection(server, never);
    const MemberQuery query;
    std::set<std::string> found;
    GroupReader(connection, kind, query).read(group, [&](MemberForm, std::string_view name) {
        found.emplace(name);
    });
    return found;
}

// Else its primary members would look as if they had left it.
TEST(Group, ThatHidesItsIdentifierIsDenied) {
    ServerKind kind;
    kind.is_active_directory = true;
    try {
        members_of_class("group", kind);
        ADD_FAILURE() << "read";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::denied) << error.what();
    }
}

TEST(Group, ThatHasNoIdentifierIsRead) {
    ServerKind kind;
    const std::set<std::string> all = {member};
    EXPECT_EQ(members_of_class("group", kind), all);
    kind.is_active_directory = true;
    EXPECT_EQ(members_of_class("groupOfNames", kind), all);
    kind.is_lightweight = true;
    EXPECT_EQ(members_of_class("group", kind), all);
}

}  // namespace
}  // namespace crmsync::directory
