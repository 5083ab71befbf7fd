#include "faults.hpp"

#include "directory.hpp"
#include "fault_delivery.hpp"

#include <algorithm>
#include <stdexcept>

namespace stand_in {

std::uint64_t Faults::add(const nlohmann::json& given) {
    Rule rule;
    rule.fault = {given.value("action", ""), given};
    if (!is_fault_action(rule.fault.action))
        throw std::invalid_argument("unknown action; known are: " + fault_actions());
    rule.endpoint = given.value("endpoint", "ews");
    rule.operation = given.value("operation", "");
    rule.mailbox = lower_case(given.value("mailbox", ""));
    rule.left = given.value("count", 1);
    if (rule.left == 0)
        rule.left = -1;
    rule.skip = given.value("skip", 0u);
    rule.every = std::max(1u, given.value("every", 1u));
    std::lock_guard lock(mutex_);
    rule.id = ++last_id_;
    rules_.push_back(std::move(rule));
    any_ = true;
    return last_id_;
}

void Faults::clear() {
    std::lock_guard lock(mutex_);
    rules_.clear();
    any_ = false;
}

nlohmann::json Faults::list() const {
    std::lock_guard lock(mutex_);
    nlohmann::json list = nlohmann::json::array();
    for (const Rule& rule : rules_)
        list.push_back({{"id", rule.id},
                        {"rule", rule.fault.settings},
                        {"left", rule.left},
                        {"seen", rule.seen},
                        {"hit", rule.hit}});
    return list;
}

std::optional<Fault> Faults::take(const std::string& endpoint, const std::string& operation,
                                  const std::string& mailbox) {
    if (!any_)
        return std::nullopt;
    std::lock_guard lock(mutex_);
    for (Rule& rule : rules_) {
        bool matches = rule.left != 0 && rule.endpoint == endpoint &&
                       (rule.operation.empty() || rule.operation == operation) &&
                       (rule.mailbox.empty() || rule.mailbox == mailbox);
        if (!matches || ++rule.seen <= rule.skip || (rule.seen - rule.skip) % rule.every != 0)
            continue;
        ++rule.hit;
        if (rule.left > 0)
            --rule.left;
        return rule.fault;
    }
    return std::nullopt;
}

}  // namespace stand_in
