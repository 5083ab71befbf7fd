// Searches that find nothing: whether that is so depends on whether the base is there.
#include <optional>

#include <gtest/gtest.h>

#include "directory/search.h"
#include "directory/server_kind.h"
#include "directory_support.h"
#include "net_server.h"

namespace crmsync::directory {
namespace {

using test::answer_to;
using test::never;
using test::search_done;

constexpr const char* base = "ou=people,dc=example,dc=com";

// A server that finds nothing, and then says this of the base alone.
class Empty {
  public:
    explicit Empty(char code)
        : server_([code](test::Connection& connection) {
              connection.read_some();
              connection.write(answer_to(1, search_done));
              if (!connection.read_some().empty()) {
                  connection.write(answer_to(2, search_done, code));
              }
              connection.wait_for_close();
          }) {
        Server server;
        server.url = "ldap://127.0.0.1:" + std::to_string(server_.port());
        server.auth = Auth::none;
        server.timeout = std::chrono::seconds(5);
        connection_.emplace(server, never);
    }

    Connection& connection() { return *connection_; }

    std::uint64_t people(int page_size) {
        Query query;
        query.base = base;
        query.page_size = page_size;
        return search(*connection_, query, [](const Entry&) {});
    }

  private:
    test::Server server_;
    std::optional<Connection> connection_;
};

ErrorKind kind_of(char code) {
    try {
        Empty(code).people(500);
    } catch (const Error& error) {
        return error.kind();
    }
    return ErrorKind::stopped;
}

// As 389 Directory Server has it.
TEST(EmptySearch, BelowABaseThatDoesNotExist) {
    EXPECT_EQ(kind_of(LDAP_NO_SUCH_OBJECT), ErrorKind::not_found);
    EXPECT_EQ(kind_of(LDAP_OPERATIONS_ERROR), ErrorKind::incomplete);
}

TEST(EmptySearch, BelowABaseThatExists) {
    EXPECT_EQ(Empty(LDAP_SUCCESS).people(500), 0u);
}

TEST(EmptySearch, BelowABaseThatIsNotShown) {
    EXPECT_FALSE(shows_base(Empty(LDAP_SUCCESS).connection(), base));
}

// As servers made with ldapjs have it.
TEST(EmptySearch, WhereThereIsNoRootDse) {
    const test::Server there([](test::Connection& connection) {
        connection.read_some();
        connection.write(answer_to(1, search_done, LDAP_NO_SUCH_OBJECT));
        connection.wait_for_close();
    });
    Server server;
    server.url = "ldap://127.0.0.1:" + std::to_string(there.port());
    server.auth = Auth::none;
    Connection connection(server, never);
    const ServerKind kind = probe(connection);
    EXPECT_EQ(kind.vendor, "");
    EXPECT_EQ(kind.key_attribute, "entryUUID");
    EXPECT_FALSE(kind.supports_paging);
}

TEST(EmptySearch, WithoutPagesIsBelieved) {
    EXPECT_EQ(Empty(LDAP_NO_SUCH_OBJECT).people(0), 0u);
}

}  // namespace
}  // namespace crmsync::directory
