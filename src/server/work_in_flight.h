// Which records of a link the worker is at right now, so that none is taken twice, and which pending
// rows are settled when their last mailbox is.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace crmsync {

// A row of `pending`, with the version that was read.
struct PendingRow {
    int link;
    int tier;
    std::string record;
    std::int64_t version;
};

class WorkInFlight {
  public:
    bool contains(int link, const std::string& record) const {
        const auto records = links_.find(link);
        return records != links_.end() && records->second.contains(record);
    }

    // Takes a record; it is done after this many outcomes.
    void begin(int link, const std::string& record, std::vector<PendingRow> rows, int outcomes) {
        links_[link].emplace(record, Entry{std::move(rows), outcomes, false});
    }

    // One outcome came. released: it was no real one, and the record stays pending. When it was the
    // last, returns the rows that are settled.
    std::vector<PendingRow> end_one(int link, const std::string& record, bool released) {
        const auto records = links_.find(link);
        if (records == links_.end()) {
            return {};
        }
        const auto entry = records->second.find(record);
        if (entry == records->second.end()) {
            return {};
        }
        entry->second.released |= released;
        if (--entry->second.outstanding > 0) {
            return {};
        }
        std::vector<PendingRow> rows;
        if (!entry->second.released) {
            rows = std::move(entry->second.rows);
        }
        records->second.erase(entry);
        return rows;
    }

    std::size_t size(int link) const {
        const auto records = links_.find(link);
        return records == links_.end() ? 0 : records->second.size();
    }

  private:
    struct Entry {
        std::vector<PendingRow> rows;
        int outstanding;
        bool released;
    };
    std::unordered_map<int, std::unordered_map<std::string, Entry>> links_;
};

}  // namespace crmsync
