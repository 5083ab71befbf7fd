// The records of a link that are pending: read a piece at a time, round and round, and removed when
// they are settled.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/postgres/query.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// Where in `pending` the worker is: it goes round, so that records in flight at the head are not
// read again and again.
struct PendingPosition {
    std::optional<std::string> after[2];  // by tier; absent: at the start
    bool took = false;                    // something, in this round
    double pairs_per_record = 20;
    int divisor = 1;  // of how many are read at once, since more took too long

    bool at_start() const { return !after[0] && !after[1]; }

    // How many records to read at once.
    int limit() const;
    // So many records had so many pairs of record and mailbox.
    void learn(std::size_t records, std::size_t pairs);
    // Less at once from now on. False: it is one record already.
    bool shrink();
};

using PendingRecords = std::map<std::string, std::vector<sync::PendingRow>>;

// The next records that are not decided yet, in the current transaction. Sets `more` when it has
// not been all round yet, or has taken something on a round that took more than one call: what is
// pending may then have changed behind it.
PendingRecords read_pending(int link, const sync::WorkInFlight& in_flight,
                            PendingPosition& position, bool& more);

// SQL that has records looked at again: those in `rows`, by link and record.
std::string become_pending(const std::string& rows);

// These are looked at again, as if the CRM had just changed them. In the current transaction.
void make_pending(int link, const pg::TextArray& records);

// How many records of a link are pending.
std::int64_t count_pending(int link);

// Removes rows of `pending` that are settled, unless they were named again meanwhile.
void settle_pending(const std::vector<sync::PendingRow>& rows);

// Which of the records that have been looked at wait for a mailbox to be read, and which no longer.
void note_waiting(int link, const pg::TextArray& looked_at, const pg::TextArray& waiting);

}  // namespace crmsync
