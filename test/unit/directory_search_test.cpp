// Searches against a real slapd, started by test/directory/slapd. Without the variable
// CRMSYNC_TEST_LDAP (a port; port + 1 speaks TLS) the tests are skipped; test/directory/run_tests
// sets it.
#include "directory/search.h"

#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "directory/attribute.h"
#include "directory/check.h"
#include "directory/group.h"
#include "directory/name.h"
#include "directory/server_kind.h"
#include "directory_support.h"

namespace crmsync::directory {
namespace {

using test::never;
constexpr const char* people = "ou=people,dc=example,dc=com";

class Slapd : public testing::Test {
  protected:
    void SetUp() override {
        const char* text = std::getenv("CRMSYNC_TEST_LDAP");
        if (text == nullptr) {
            GTEST_SKIP() << "CRMSYNC_TEST_LDAP is not set; run test/directory/run_tests";
        }
        port_ = std::atoi(text);
        server_ = server("ldap://127.0.0.1:" + std::to_string(port_));
        const char* directory = std::getenv("CRMSYNC_TEST_LDAP_DIRECTORY");
        const std::string home = directory == nullptr ? "." : directory;
        ca_file_ = home + "/ca.pem";
        log_file_ = home + "/slapd.log";
    }

    // How many there have been whose base begins so.
    int searches_below(const std::string& base) const {
        std::ifstream log(log_file_);
        int count = 0;
        for (std::string line; std::getline(log, line);) {
            count += line.find("SRCH base=\"" + base) != std::string::npos ? 1 : 0;
        }
        return count;
    }

    static Server server(const std::string& url) {
        Server server;
        server.url = url;
        server.username = "cn=admin,dc=example,dc=com";
        server.secret = "secret";
        server.timeout = std::chrono::seconds(5);
        return server;
    }

    static Query all_people(int page_size) {
        Query query;
        query.base = people;
        query.filter = "(objectClass=inetOrgPerson)";
        query.attributes = {"entryUUID", "uid"};
        query.page_size = page_size;
        return query;
    }

    static ErrorKind kind_of(const Server& server) {
        try {
            const Connection connection(server, never);
        } catch (const Error& error) {
            return error.kind();
        }
        ADD_FAILURE() << "connected";
        return ErrorKind::stopped;
    }

    int port_ = 0;
    Server server_;
    std::string ca_file_;
    std::string log_file_;
};

TEST_F(Slapd, ReadsEveryEntryOnceWhateverThePageSize) {
    Connection connection(server_, never);
    std::set<std::string> first;
    for (const int page_size : {0, 7, 100, 1000}) {
        std::set<std::string> keys;
        const auto count = search(connection, all_people(page_size), [&](const Entry& entry) {
            ASSERT_NE(entry.find("ENTRYUUID"), nullptr);
            keys.insert(std::string(entry.find("entryUUID")->values.at(0)));
        });
        EXPECT_EQ(count, 500u);
        EXPECT_EQ(keys.size(), 500u);
        if (first.empty()) {
            first = keys;
        }
        EXPECT_EQ(keys, first);
    }
}

TEST_F(Slapd, SizeLimitIsAnIncompleteSearch) {
    Server limited = server_;
    limited.username = "cn=reader,dc=example,dc=com";  // limited to 100 by run_tests
    Connection connection(limited, never);
    for (const int page_size : {0, 50}) {
        try {
            search(connection, all_people(page_size), [](const Entry&) {});
            ADD_FAILURE() << "complete";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::incomplete) << error.what();
            EXPECT_NE(std::string(error.what()).find("incomplete after"), std::string::npos)
                << error.what();
        }
    }
}

TEST_F(Slapd, WrongPasswordNameAndPortAreTold) {
    Server wrong = server_;
    wrong.secret = "wrong";
    EXPECT_EQ(kind_of(wrong), ErrorKind::credentials);
    wrong.secret = "";
    EXPECT_EQ(kind_of(wrong), ErrorKind::configuration);
    EXPECT_EQ(kind_of(server("ldap://127.0.0.1:1")), ErrorKind::connect);
    EXPECT_EQ(kind_of(server("ldap://no-such-host.invalid")), ErrorKind::resolve);
    EXPECT_EQ(kind_of(server("http://127.0.0.1")), ErrorKind::configuration);
}

TEST_F(Slapd, LongWordsOfTheServerAreCutBetweenCharacters) {
    const Connection connection(server_, never);
    for (const std::string& start : {std::string(), std::string("x")}) {
        std::string diagnostic = start;
        for (int i = 0; i < 600; ++i) {
            diagnostic += "\u00fc";
        }
        const Error error = connection.failure(LDAP_OTHER, "bind", diagnostic);
        EXPECT_TRUE(is_utf8(error.what())) << error.what();
        EXPECT_LT(std::string(error.what()).size(), 600u);
    }
    EXPECT_TRUE(is_utf8(connection.failure(LDAP_OTHER, "bind", "\xff\xfe").what()));
}

TEST_F(Slapd, WrongBaseAndFilterAreTold) {
    Connection connection(server_, never);
    Query query = all_people(100);
    query.base = "ou=nowhere,dc=example,dc=com";
    try {
        search(connection, query, [](const Entry&) {});
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::not_found);
    }
    query = all_people(100);
    query.filter = "(uid=";
    try {
        search(connection, query, [](const Entry&) {});
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::configuration) << error.what();
    }
}

TEST_F(Slapd, TlsIsVerified) {
    Server tls = server("ldaps://127.0.0.1:" + std::to_string(port_ + 1));
    EXPECT_EQ(kind_of(tls), ErrorKind::tls);  // unknown authority
    tls.ca_file = ca_file_;
    EXPECT_TRUE(Connection(tls, never).uses_tls());
    tls.url = "ldaps://127.0.0.2:" + std::to_string(port_ + 1);
    EXPECT_NE(kind_of(tls), ErrorKind::stopped);  // another name, or nobody there
    tls = server("ldaps://127.0.0.1:" + std::to_string(port_ + 1));
    tls.tls_verify = false;
    EXPECT_TRUE(Connection(tls, never).uses_tls());
}

TEST_F(Slapd, StartTlsIsCritical) {
    Server tls = server_;
    tls.start_tls = true;
    EXPECT_EQ(kind_of(tls), ErrorKind::tls);
    tls.ca_file = ca_file_;
    EXPECT_TRUE(Connection(tls, never).uses_tls());
    tls.url = "ldaps://127.0.0.1:" + std::to_string(port_ + 1);
    EXPECT_EQ(kind_of(tls), ErrorKind::configuration);
}

TEST_F(Slapd, StopsInTheMiddle) {
    int asked = 0;
    bool stop = false;
    Connection connection(server_, [&] {
        ++asked;
        return stop;
    });
    // A server that never answers: the search below is sent to a silent socket.
    stop = true;
    const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    ASSERT_EQ(::bind(silent, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(silent, 1), 0);
    ::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &length);
    const auto begin = Clock::now();
    try {
        const Connection hanging(
            server("ldap://127.0.0.1:" + std::to_string(ntohs(address.sin_port))),
            [&] { return Clock::now() - begin > std::chrono::milliseconds(300); });
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::stopped);
    }
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
    ::close(silent);
}

TEST_F(Slapd, SilenceEndsInATimeout) {
    const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    ASSERT_EQ(::bind(silent, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(silent, 1), 0);
    ::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &length);
    Server hanging = server("ldap://127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
    hanging.timeout = std::chrono::seconds(1);
    EXPECT_EQ(kind_of(hanging), ErrorKind::timeout);
    ::close(silent);
}

TEST_F(Slapd, RecognisesTheServer) {
    Connection connection(server_, never);
    const ServerKind kind = probe(connection);
    EXPECT_FALSE(kind.is_active_directory);
    EXPECT_EQ(kind.key_attribute, "entryUUID");
    EXPECT_EQ(kind.page_size, 100'000);
    EXPECT_TRUE(kind.supports_paging);
    EXPECT_EQ(kind.context_of(people), "dc=example,dc=com");
}

std::set<std::string> members(Connection& connection, const std::string& group, bool nested) {
    const ServerKind kind = probe(connection);
    const MemberQuery query{people, "(objectClass=person)", nested, 100};
    GroupReader reader(connection, kind, query);
    std::set<std::string> found;
    reader.read(group, [&](MemberForm, std::string_view member) { found.emplace(member); });
    return found;
}

TEST_F(Slapd, GroupsAreFoundByNameAndByDn) {
    Connection connection(server_, never);
    const auto by_name = members(connection, "group1", false);
    EXPECT_EQ(by_name.size(), 25u);
    EXPECT_TRUE(by_name.contains("uid=user0000001," + std::string(people)));
    EXPECT_EQ(members(connection, "CN=Group1,OU=groups,DC=example,DC=com", false), by_name);
    EXPECT_THROW(members(connection, "nobody", false), Error);
    EXPECT_THROW(members(connection, "cn=nobody,dc=example,dc=com", false), Error);
}

// Else they would be taken for all groups, and users of nested ones for members no more.
TEST_F(Slapd, GroupsThatCannotBeListedAreNotNone) {
    Connection connection(server_, never);
    ServerKind kind = probe(connection);
    kind.naming_contexts = {"ou=nowhere,dc=example,dc=com"};
    const MemberQuery query{"ou=nowhere,dc=example,dc=com", "(objectClass=person)", true, 100};
    GroupReader reader(connection, kind, query);
    const int before = searches_below("ou=nowhere");
    for (const char* group :
         {"cn=group1,ou=groups,dc=example,dc=com", "cn=group2,ou=groups,dc=example,dc=com"}) {
        EXPECT_THROW(reader.read(group, [](MemberForm, std::string_view) {}), Error) << group;
    }
    EXPECT_EQ(searches_below("ou=nowhere") - before, 1) << "each may take the server's whole limit";
}

TEST_F(Slapd, CheckNamesTheStepThatFails) {
    const auto steps = check(server_, people, "(objectClass=person)", never);
    ASSERT_EQ(steps.size(), 7u);
    for (const Step& step : steps) {
        EXPECT_TRUE(step.ok) << step.name << ": " << step.detail;
    }
    const auto failed = check(server_, "ou=nowhere,dc=example,dc=com", "", never);
    EXPECT_EQ(failed.back().name, "base");
    EXPECT_FALSE(failed.back().ok);
    EXPECT_FALSE(failed.back().hint.empty());
}

}  // namespace
}  // namespace crmsync::directory
