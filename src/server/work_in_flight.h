// Which records of a link the worker is at right now, so that none is taken twice, and which
// pending rows are settled when their last mailbox is.
#pragma once

#include <algorithm>
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
    // Whether something goes on for the record. What waits for its end is told by end_one.
    bool occupies(int link, const std::string& record) {
        Entry* entry = find(link, record);
        if (entry != nullptr) {
            entry->awaited = true;
        }
        return entry != nullptr;
    }

    // The same for a row of `pending`: the very row that is worked on does not wait for its own
    // end.
    bool occupies(const PendingRow& row) {
        Entry* entry = find(row.link, row.record);
        if (entry != nullptr) {
            entry->awaited |=
                std::none_of(entry->rows.begin(), entry->rows.end(), [&](const PendingRow& own) {
                    return own.tier == row.tier && own.version == row.version;
                });
        }
        return entry != nullptr;
    }

    // Takes a record; it is done after this many outcomes.
    void begin(int link, const std::string& record, std::vector<PendingRow> rows, int outcomes) {
        links_[link].emplace(record, Entry{std::move(rows), outcomes, false, false});
    }

    struct Ended {
        std::vector<PendingRow> settled;
        bool awaited = false;  // there is something new to do for the record
    };

    // One outcome came. released: it was no real one, and the record stays pending. Says something
    // when it was the last one.
    Ended end_one(int link, const std::string& record, bool released) {
        Entry* entry = find(link, record);
        if (entry == nullptr) {
            return {};
        }
        entry->released |= released;
        if (--entry->outstanding > 0) {
            return {};
        }
        Ended ended{{}, entry->awaited};
        if (!entry->released) {
            ended.settled = std::move(entry->rows);
        }
        links_[link].erase(record);
        return ended;
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
        bool awaited;
    };

    Entry* find(int link, const std::string& record) {
        const auto records = links_.find(link);
        if (records == links_.end()) {
            return nullptr;
        }
        const auto entry = records->second.find(record);
        return entry == records->second.end() ? nullptr : &entry->second;
    }

    std::unordered_map<int, std::unordered_map<std::string, Entry>> links_;
};

}  // namespace crmsync
