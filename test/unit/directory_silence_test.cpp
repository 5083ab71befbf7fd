// Servers that take a connection and then fall silent, wherever that may be: the timeout ends the
// wait, and so does a stop, and neither costs the processor anything.
#include <algorithm>
#include <ctime>
#include <thread>

#include <gtest/gtest.h>

#include "directory/connection.h"
#include "directory/search.h"
#include "directory_support.h"
#include "net_certificates.h"

namespace crmsync::directory {
namespace {

using std::chrono::milliseconds;
using test::bind_answer;
using test::extended_answer;
using test::first_answer;
using test::never;
using test::search_done;

// A script that answers one request after the other with these bytes, and then is silent.
test::Server::Script saying(std::vector<std::string> answers) {
    return [answers = std::move(answers)](test::Connection& connection) {
        for (const std::string& answer : answers) {
            if (connection.read_some().empty()) {
                return;
            }
            connection.write(answer);
        }
        connection.wait_for_close();
    };
}

Server server_at(const test::Server& there, const std::string& scheme) {
    Server server;
    server.url = scheme + "://127.0.0.1:" + std::to_string(there.port());
    server.username = "cn=reader,dc=example,dc=com";
    server.secret = "secret";
    server.timeout = milliseconds(500);
    return server;
}

void log_on(const Server& server, const ShouldStop& should_stop) {
    const Connection connection(server, should_stop);
}

// libldap reads eight bytes at once, and then the rest.
std::string beginning_of_an_answer() {
    return first_answer(bind_answer).substr(0, 8);
}

using Body = std::function<void(const Server&, const ShouldStop&)>;

void ends(const char* how, ErrorKind kind, const Server& server, const ShouldStop& should_stop,
          const Body& body) {
    const auto begin = Clock::now();
    const std::clock_t processor = std::clock();
    try {
        body(server, should_stop);
        ADD_FAILURE() << how << ": has not failed";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << how << ": " << error.what();
    }
    const std::chrono::duration<double> took = Clock::now() - begin;
    const double busy = static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC;
    EXPECT_LT(took.count(), 5) << how;
    // Who asks again and again instead of waiting is busy all the time.
    EXPECT_LT(busy, std::max(0.2, took.count() / 2)) << how;
}

// Once by the timeout, once because somebody asks for it.
void ends_both_ways(Server server, const Body& body) {
    ends("timeout", ErrorKind::timeout, server, never, body);
    server.timeout = std::chrono::seconds(60);
    const auto begin = Clock::now();
    const auto soon = [begin] { return Clock::now() - begin > milliseconds(300); };
    ends("stop", ErrorKind::stopped, server, soon, body);
}

TEST(Silence, InsteadOfTheHandshake) {
    const test::Server there(saying({}));
    ends_both_ways(server_at(there, "ldaps"), log_on);
}

TEST(Silence, InTheMiddleOfTheHandshake) {
    const test::Server there(saying({std::string("\x16\x03\x03\x00\x50\x02\x00", 7)}));
    ends_both_ways(server_at(there, "ldaps"), log_on);
}

TEST(Silence, AfterStartTls) {
    const test::Server there(saying({first_answer(extended_answer)}));
    Server server = server_at(there, "ldap");
    server.start_tls = true;
    ends_both_ways(server, log_on);
}

TEST(Silence, InsteadOfAnAnswer) {
    const test::Server there(saying({}));
    ends_both_ways(server_at(there, "ldap"), log_on);
}

TEST(Silence, InTheMiddleOfAnAnswer) {
    const test::Server there(saying({beginning_of_an_answer()}));
    ends_both_ways(server_at(there, "ldap"), log_on);
}

TEST(Silence, InTheMiddleOfAnAnswerThroughTls) {
    test::Certificates certificates;
    const test::Server there(saying({beginning_of_an_answer()}), certificates.make());
    Server server = server_at(there, "ldaps");
    server.ca_file = certificates.ca_file();
    ends_both_ways(server, log_on);
}

TEST(Silence, InTheMiddleOfAnEntry) {
    const test::Server there(saying(
        {first_answer(bind_answer), std::string("\x30\x30\x02\x01\x02\x64\x2b\x04\x02o", 10)}));
    ends_both_ways(server_at(there, "ldap"),
                   [](const Server& server, const ShouldStop& should_stop) {
                       Connection connection(server, should_stop);
                       search(connection, Query{}, [](const Entry&) {});
                   });
}

// The length of an LDAP message, head and all; 0 while the head has not arrived.
std::size_t message_length(const std::string& bytes) {
    if (bytes.size() < 6) {
        return 0;
    }
    const auto first = static_cast<unsigned char>(bytes[1]);
    std::size_t length = first;
    std::size_t head = 2;
    if (first > 0x80) {
        length = 0;
        for (head = 2; head < 2u + (first & 0x7f); ++head) {
            length = length << 8 | static_cast<unsigned char>(bytes[head]);
        }
    }
    return head + length;
}

Query of_megabytes() {
    Query query;
    query.base.assign(16u << 20, 'x');
    query.page_size = 0;
    return query;
}

void search_for_megabytes(const Server& server, const ShouldStop& should_stop) {
    Connection connection(server, should_stop);
    search(connection, of_megabytes(), [](const Entry&) {});
}

TEST(Silence, OfOneWhoDoesNotRead) {
    const test::Server there([](test::Connection& connection) { connection.wait_for_close(); });
    Server server = server_at(there, "ldap");
    server.auth = Auth::none;
    ends_both_ways(server, search_for_megabytes);
}

TEST(Silence, OfOneWhoReadsLateIsNone) {
    test::Certificates certificates;
    for (const bool tls : {false, true}) {
        const auto late = [](test::Connection& connection) {
            std::this_thread::sleep_for(milliseconds(300));
            std::string request;
            do {
                const std::string more = connection.read_some();
                if (more.empty()) {
                    return;
                }
                request += more;
            } while (request.size() < message_length(request) || message_length(request) == 0);
            connection.write(first_answer(search_done));
            connection.wait_for_close();
        };
        const test::Server there(late, tls ? std::optional(certificates.make()) : std::nullopt);
        Server server = server_at(there, tls ? "ldaps" : "ldap");
        server.auth = Auth::none;
        server.ca_file = certificates.ca_file();
        server.timeout = std::chrono::seconds(10);
        EXPECT_NO_THROW(search_for_megabytes(server, never)) << (tls ? "ldaps" : "ldap");
    }
}

// The timeout is for each silence, not for the whole answer.
TEST(Silence, OfOneWhoSpeaksSlowlyIsNone) {
    const test::Server there([](test::Connection& connection) {
        connection.read_some();
        connection.write(first_answer(bind_answer));
        connection.read_some();
        std::string answer = first_answer(search_done);
        answer[4] = 2;  // the number of the request
        for (std::size_t at = 0; at < answer.size(); at += 3) {
            connection.write(std::string_view(answer).substr(at, 3));
            std::this_thread::sleep_for(milliseconds(250));
        }
        connection.wait_for_close();
    });
    Server server = server_at(there, "ldap");
    server.timeout = milliseconds(800);
    Query query;
    query.page_size = 0;
    EXPECT_NO_THROW({
        Connection connection(server, never);
        search(connection, query, [](const Entry&) {});
    });
}

// PostgreSQL's interrupts come as exceptions, and have to get past libldap.
TEST(Silence, IsEndedByAnException) {
    struct Interrupt {};
    auto begin = Clock::now();
    const auto soon = [&begin] {
        return Clock::now() - begin > milliseconds(200) ? throw Interrupt{} : false;
    };
    const test::Server there(saying({beginning_of_an_answer()}));
    EXPECT_THROW(log_on(server_at(there, "ldap"), soon), Interrupt);
    begin = Clock::now();
    const test::Server silent(saying({}));
    EXPECT_THROW(log_on(server_at(silent, "ldaps"), soon), Interrupt);
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace crmsync::directory
