#include "journal.hpp"

#include <fstream>
#include <stdexcept>

namespace stand_in {

namespace {

constexpr std::size_t kRemembered = 10000;

nlohmann::json as_json(const Entry& e) {
    return {{"number", e.number},
            {"at_ms", e.at_ms},
            {"took_ms", e.took_ms},
            {"operation", e.operation},
            {"mailbox", e.mailbox},
            {"items", e.items},
            {"status", e.status},
            {"bytes_in", e.bytes_in},
            {"bytes_out", e.bytes_out},
            {"connection", e.connection},
            {"anchor", e.anchor},
            {"fault", e.fault},
            {"code", e.code}};
}

const char* or_dash(const std::string& text) {
    return text.empty() ? "-" : text.c_str();
}

}  // namespace

Journal::Journal(const std::string& file, std::string bodies) : bodies_(std::move(bodies)) {
    if (file.empty())
        return;
    file_.reset(std::fopen(file.c_str(), "a"));
    if (!file_)
        throw std::runtime_error("cannot write the journal " + file);
    setvbuf(file_.get(), nullptr, _IOLBF, 1 << 16);
}

void Journal::add(const Entry& e) {
    std::lock_guard lock(mutex_);
    recent_.push_back(e);
    if (recent_.size() > kRemembered)
        recent_.pop_front();
    Totals& totals = totals_[e.operation];
    ++totals.requests;
    totals.items += e.items;
    ++statuses_[e.status];
    if (file_)
        std::fprintf(file_.get(),
                     "%.3f %s %s items=%zu status=%d in=%zu out=%zu took_ms=%.3f "
                     "connection=%llu anchor=%s fault=%s code=%s\n",
                     e.at_ms, or_dash(e.operation), or_dash(e.mailbox), e.items, e.status,
                     e.bytes_in, e.bytes_out, e.took_ms,
                     static_cast<unsigned long long>(e.connection), or_dash(e.anchor),
                     or_dash(e.fault), or_dash(e.code));
}

void Journal::keep(std::uint64_t number, const char* suffix, const std::string& body) const {
    if (bodies_.empty() || !keep_bodies_)
        return;
    char name[32];
    std::snprintf(name, sizeof name, "%08llu", static_cast<unsigned long long>(number));
    std::ofstream(bodies_ + "/" + name + suffix, std::ios::binary) << body;
}

nlohmann::json Journal::entries(std::uint64_t since) const {
    std::lock_guard lock(mutex_);
    nlohmann::json list = nlohmann::json::array();
    for (const Entry& entry : recent_)
        if (entry.number > since)
            list.push_back(as_json(entry));
    return list;
}

nlohmann::json Journal::counters() const {
    std::lock_guard lock(mutex_);
    nlohmann::json operations = nlohmann::json::object(), statuses = nlohmann::json::object();
    std::uint64_t requests = 0, items = 0;
    for (const auto& [operation, totals] : totals_) {
        operations[operation] = {{"requests", totals.requests}, {"items", totals.items}};
        requests += totals.requests;
        items += totals.items;
    }
    for (const auto& [status, count] : statuses_)
        statuses[std::to_string(status)] = count;
    return {{"requests", requests},
            {"items", items},
            {"operations", operations},
            {"statuses", statuses}};
}

void Journal::clear() {
    std::lock_guard lock(mutex_);
    recent_.clear();
    totals_.clear();
    statuses_.clear();
}

}  // namespace stand_in
