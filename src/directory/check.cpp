#include "directory/check.h"

#include <optional>

#include "directory/attribute.h"
#include "directory/fail_over.h"
#include "directory/search.h"
#include "directory/server_kind.h"

namespace crmsync::directory {

namespace {

constexpr std::uint64_t sample_size = 100;

class Check {
  public:
    Check(const Server& server, std::string base, const std::string& filter,
          const ShouldStop& should_stop)
        : server_(server),
          base_(std::move(base)),
          filter_(filter.empty() ? "(objectClass=*)" : filter),
          should_stop_(should_stop),
          deadline_(Clock::now() + server.timeout) {}

    std::vector<Step> run() {
        const bool all_passed = step("DNS", [&] { return resolve_name(); }) &&
                                step("TCP", [&] { return open_connection(); }) &&
                                step("TLS", [&] { return secure_connection(); }) &&
                                step("authentication", [&] { return authenticate(); }) &&
                                step("server", [&] { return recognise(); }) &&
                                step("base", [&] { return find_base(); });
        if (all_passed) {
            step("entries", [&] { return count_entries(); });
        }
        return std::move(steps_);
    }

  private:
    template <class Body>
    bool step(const char* name, Body body) {
        try {
            steps_.push_back({name, true, body(), {}});
            return true;
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::stopped) {
                throw;
            }
            steps_.push_back({name, false, error.what(), error.hint()});
            return false;
        }
    }

    std::string resolve_name() {
        endpoint_ = parse_urls(server_.url).front();
        if (endpoint_.scheme == "ldapi") {
            return "a local socket needs no name";
        }
        addresses_ = resolve(endpoint_.host, endpoint_.port, deadline_, should_stop_);
        return endpoint_.host + " is " + addresses_.front().text();
    }

    std::string open_connection() {
        if (endpoint_.scheme == "ldapi") {
            connection_.emplace(server_, endpoint_,
                                connect_local(endpoint_.host, deadline_, should_stop_),
                                should_stop_);
            return "connected to " + endpoint_.host;
        }
        std::string connected;
        try_in_turn(addresses_, deadline_, [&](const Address& address, Clock::time_point share) {
            connection_.emplace(server_, endpoint_, connect(address, share, should_stop_),
                                should_stop_);
            connected = "connected to " + address.text();
        });
        return connected;
    }

    std::string secure_connection() {
        connection_->secure();
        if (!connection_->uses_tls()) {
            return "not encrypted";
        }
        return server_.tls_verify ? "encrypted, the certificate is trusted"
                                  : "encrypted, the certificate was not verified";
    }

    std::string authenticate() {
        connection_->bind();
        return server_.auth == Auth::none ? "anonymous" : "bound as \"" + server_.username + "\"";
    }

    std::string recognise() {
        kind_ = probe(*connection_);
        return (kind_.vendor.empty() ? "unknown vendor" : kind_.vendor) + ", key attribute " +
               kind_.key_attribute +
               (kind_.supports_paging ? ", reads in pages" : ", does not offer pages");
    }

    std::string find_base() {
        if (base_.empty() && !kind_.naming_contexts.empty()) {
            base_ = kind_.naming_contexts.front();
        }
        // An import does without being shown it, as long as it finds entries.
        return "\"" + base_ + "\" " +
               (shows_base(*connection_, base_) ? "exists" : "is not shown itself");
    }

    std::string count_entries() {
        Query query;
        query.base = base_;
        query.filter = filter_;
        query.attributes = {kind_.key_attribute};
        query.page_size = kind_.supports_paging ? static_cast<int>(sample_size) : 0;
        query.sample = sample_size;
        query.ignore_references = true;
        std::uint64_t with_key = 0;
        const std::uint64_t found = search(*connection_, query, [&](const Entry& entry) {
            with_key += entry.find(kind_.key_attribute) != nullptr ? 1 : 0;
        });
        if (found == 0) {
            throw Error(ErrorKind::not_found,
                        "no entry below \"" + base_ + "\" passes the filter " + filter_,
                        "check the filter, and whether the account may read the entries");
        }
        if (with_key < found) {
            throw Error(ErrorKind::denied,
                        "the key attribute " + kind_.key_attribute + " cannot be read of " +
                            std::to_string(found - with_key) + " of " + std::to_string(found) +
                            " entries",
                        "let the account read it: entries are known by it");
        }
        return found < sample_size ? std::to_string(found) + " entries"
                                   : std::to_string(found) + " entries or more";
    }

    const Server& server_;
    std::string base_;
    std::string filter_;
    const ShouldStop& should_stop_;
    Clock::time_point deadline_;
    Endpoint endpoint_;
    std::vector<Address> addresses_;
    std::optional<Connection> connection_;
    ServerKind kind_;
    std::vector<Step> steps_;
};

}  // namespace

std::vector<Step> check(const Server& server, const std::string& base, const std::string& filter,
                        const ShouldStop& should_stop) {
    return Check(server, base, filter, should_stop).run();
}

}  // namespace crmsync::directory
