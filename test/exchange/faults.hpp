// Faults on command: which request is hit, and by what.
//
// A rule names an action with its settings and the requests that it hits: all, or only those of
// an operation, of a mailbox, every k-th, after the first n, so many times. The first rule that
// matches takes the request. What the actions do is in fault_delivery.hpp.
#pragma once

#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>

namespace stand_in {

struct Fault {
    std::string action;
    nlohmann::json settings;  ///< the whole rule as it was given
};

class Faults {
  public:
    /// Takes a rule. Throws std::invalid_argument where it makes no sense, naming what does.
    std::uint64_t add(const nlohmann::json& rule);
    void clear();
    nlohmann::json list() const;

    /// The fault for a request, if any; counts it. `endpoint`: ews or token.
    std::optional<Fault> take(const std::string& endpoint, const std::string& operation,
                              const std::string& mailbox);

  private:
    struct Rule {
        std::uint64_t id = 0;
        Fault fault;
        std::string endpoint, operation, mailbox;
        std::int64_t left = 1;  ///< how many requests it still hits; negative: all
        std::uint64_t skip = 0, every = 1, seen = 0, hit = 0;
    };

    std::atomic<bool> any_{false};
    mutable std::mutex mutex_;
    std::uint64_t last_id_ = 0;
    std::list<Rule> rules_;
};

}  // namespace stand_in
