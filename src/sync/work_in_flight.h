// What the worker is at right now: which records of a link, in which mailboxes, so that nothing is
// begun twice, and which pending rows are settled when the last of it has ended. A record that
// changes again meanwhile is decided again at once for the mailboxes where nothing goes on for it:
// none waits for a slow one. Where something did, it is decided once more when that has ended.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace crmsync::sync {

// A row of `pending`, with the version that was read.
struct PendingRow {
    int link;
    int tier;
    std::string record;
    std::int64_t version;
};

class WorkInFlight {
  public:
    // Whether something goes on for the record anywhere.
    bool occupies(int link, const std::string& record) const {
        return find(links_, link, record) != nullptr;
    }

    // The same in one mailbox. What waits for its end is told by end_one.
    bool occupies(int link, const std::string& record, int mailbox) {
        Entry* entry = find(links_, link, record);
        const auto busy = entry == nullptr ? std::vector<Busy>::iterator() : entry->find(mailbox);
        if (entry == nullptr || busy == entry->busy.end()) {
            return false;
        }
        busy->awaited = true;
        return true;
    }

    // Whether all that followed from these rows for the record in the mailbox has ended: to decide
    // it again would only try again at once what has failed.
    bool has_ended(int link, const std::string& record, const std::vector<PendingRow>& rows,
                   int mailbox) const {
        const Entry* entry = find(links_, link, record);
        return entry != nullptr &&
               std::find(entry->ended.begin(), entry->ended.end(), mailbox) != entry->ended.end() &&
               std::all_of(rows.begin(), rows.end(),
                           [&](const PendingRow& row) { return entry->has(row); });
    }

    // Whether the row has been decided, and needs not be looked at before something of its record
    // has ended.
    bool covers(const PendingRow& row) const {
        const Entry* entry = find(links_, row.link, row.record);
        return entry != nullptr && !entry->incomplete && entry->has(row);
    }

    // The record has been decided, for these rows, but where something goes on for it; in these
    // mailboxes something begins now.
    void decide(int link, const std::string& record, std::vector<PendingRow> rows,
                const std::vector<int>& mailboxes) {
        Entry& entry = links_[link][record];
        if (entry.incomplete) {
            entry.keep_tiers_of(rows);
        }
        for (PendingRow& row : rows) {
            entry.take(std::move(row));
        }
        entry.incomplete = false;
        // What follows from the same rows needs not be decided again.
        for (Busy& busy : entry.busy) {
            busy.undecided = busy.decision != entry.decision;
        }
        for (const int mailbox : mailboxes) {
            entry.busy.push_back({mailbox, entry.decision});
        }
    }

    // Something begins that does not follow from a decision.
    void begin(int link, const std::string& record, int mailbox) {
        links_[link][record].busy.push_back({mailbox, no_decision});
        count(link, mailbox, 1);
    }

    // How much of that goes on in the mailbox, and whether it is so much that it has no need of
    // more: as much as goes out while somebody looks for more.
    std::size_t begun(int mailbox) const {
        const auto here = begun_.find(mailbox);
        return here == begun_.end() ? 0 : here->second;
    }
    bool has_enough(int mailbox) const { return begun(mailbox) >= enough; }

    // The same of a link, but for mailboxes that have enough: they may be slow.
    std::size_t begun_elsewhere(int link) const {
        const auto elsewhere = begun_elsewhere_.find(link);
        return elsewhere == begun_elsewhere_.end() ? 0 : elsewhere->second;
    }

    struct Ended {
        std::vector<PendingRow> settled;
        bool awaited = false;  // there is something new to do for the record
    };

    // One outcome came. released: it was no real one, and the record stays pending.
    Ended end_one(int link, const std::string& record, int mailbox, bool released) {
        Entry* entry = find(links_, link, record);
        const auto busy = entry == nullptr ? std::vector<Busy>::iterator() : entry->find(mailbox);
        if (entry == nullptr || busy == entry->busy.end()) {
            return {};
        }
        Ended ended{{}, busy->awaited || busy->undecided};
        entry->incomplete |= busy->undecided || released;
        if (busy->decision == entry->decision && !released) {
            entry->ended.push_back(mailbox);
        }
        if (busy->decision == no_decision) {
            count(link, mailbox, -1);
        }
        entry->busy.erase(busy);
        if (entry->busy.empty()) {
            if (!entry->incomplete) {
                ended.settled = std::move(entry->rows);
            }
            links_[link].erase(record);
        }
        return ended;
    }

    std::size_t size(int link) const {
        const auto records = links_.find(link);
        return records == links_.end() ? 0 : records->second.size();
    }

  private:
    static constexpr int no_decision = 0;
    static constexpr std::size_t enough = 500;

    void count(int link, int mailbox, int change) {
        const auto counted = [](std::size_t here) { return here < enough ? here : 0; };
        std::size_t& here = begun_[mailbox];
        std::size_t& elsewhere = begun_elsewhere_[link];
        elsewhere -= counted(here);
        here += static_cast<std::size_t>(change);
        elsewhere += counted(here);
        if (here == 0) {
            begun_.erase(mailbox);
        }
    }

    struct Busy {
        int mailbox;
        int decision;            // that it follows from
        bool awaited = false;    // somebody has asked for it
        bool undecided = false;  // the record has been decided anew meanwhile, but not here
    };
    struct Entry {
        std::vector<PendingRow> rows;
        std::vector<Busy> busy;
        std::vector<int> ended;      // mailboxes, of the last decision
        int decision = no_decision;  // counts those about other rows than before
        bool incomplete = false;     // not all of the record is decided

        bool has(const PendingRow& row) const {
            return std::any_of(rows.begin(), rows.end(), [&](const PendingRow& own) {
                return own.tier == row.tier && own.version == row.version;
            });
        }

        // Those of other tiers are decided when they are read again.
        void keep_tiers_of(const std::vector<PendingRow>& others) {
            std::erase_if(rows, [&](const PendingRow& own) {
                return std::none_of(others.begin(), others.end(), [&](const PendingRow& other) {
                    return other.tier == own.tier;
                });
            });
        }

        void take(PendingRow row) {
            if (has(row)) {
                return;
            }
            std::erase_if(rows, [&](const PendingRow& own) { return own.tier == row.tier; });
            rows.push_back(std::move(row));
            ++decision;
            ended.clear();
        }

        std::vector<Busy>::iterator find(int mailbox) {
            return std::find_if(busy.begin(), busy.end(),
                                [&](const Busy& one) { return one.mailbox == mailbox; });
        }
    };

    // One of a link's records, or null.
    template <typename Links>
    static auto find(Links& links, int link, const std::string& record)
        -> decltype(&links.begin()->second.begin()->second) {
        const auto records = links.find(link);
        if (records == links.end()) {
            return nullptr;
        }
        const auto entry = records->second.find(record);
        return entry == records->second.end() ? nullptr : &entry->second;
    }

    std::unordered_map<int, std::unordered_map<std::string, Entry>> links_;
    std::unordered_map<int, std::size_t> begun_;            // by mailbox
    std::unordered_map<int, std::size_t> begun_elsewhere_;  // by link
};

}  // namespace crmsync::sync
