// The EWS endpoint: from the HTTP request to the reply, with everything that lies between.
#pragma once

#include "authentication.hpp"
#include "directory.hpp"
#include "faults.hpp"
#include "journal.hpp"
#include "operation.hpp"
#include "options.hpp"
#include "reply.hpp"
#include "schema.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

namespace stand_in {

/// What tests may change while the server runs.
struct Settings {
    std::atomic<bool> deny_impersonation{false};
    std::atomic<bool> property_sets_as_guid{false};
    std::atomic<bool> sends_date{true};
    std::atomic<double> request_ms{0}, item_ms{0};
};

class Service {
  public:
    explicit Service(const Options& options);

    /// Answers POST /EWS/Exchange.asmx.
    void ews(const httplib::Request& request, httplib::Response& response);
    /// Answers POST /{tenant}/oauth2/v2.0/token.
    void token(const httplib::Request& request, httplib::Response& response);

    /// While paused, requests wait.
    void pause(bool paused);

    /// Removes all content, faults and journal; the mailboxes of the command line come back empty.
    void reset();

    const Options options;
    Settings settings;
    Directory directory;
    Authentication authentication;
    Faults faults;
    Journal journal;

  private:
    struct Parsed;

    Reply handle(const httplib::Request& request, Entry& entry, std::size_t& items);
    void parse(const std::string& body, Parsed& parsed) const;
    void check_schema(const std::string& body) const;
    void enter_mailbox(const Parsed& parsed, const std::string& account, Context& context) const;
    MailboxPtr impersonate(pugi::xml_node sid) const;
    Reply carry_out(const Parsed& parsed, const std::string& account,
                    const std::optional<Fault>& fault, std::size_t& items);
    void check_answer(const Reply& reply) const;
    void wait_while_paused();

    std::unique_ptr<Schema> schema_;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::atomic<std::uint64_t> requests_{0};
    std::mutex pause_mutex_;
    std::condition_variable resumed_;
    std::atomic<bool> paused_{false};
};

}  // namespace stand_in
