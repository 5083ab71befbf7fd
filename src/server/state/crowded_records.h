// Records that are to be sent to a mailbox in which so much goes on that they have to wait. They
// are not pending, or they would be read again and again, and are not kept in memory: a mailbox may
// hang for long while a million wait for it.
#pragma once

#include "server/postgres/query.h"
#include "server/state/pending_records.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// These wait, since the time when they became pending: before they are settled. In the current
// transaction.
void add_crowded(int link, const pg::TextArray& records, const pg::IntegerArray& mailboxes);

struct CrowdedRecords {
    PendingRecords records;      // that are pending again
    pg::IntegerArray mailboxes;  // that records were waiting for
};

// Makes some of those pending again that wait for mailboxes with room. In the current transaction.
CrowdedRecords take_back(int link, const sync::WorkInFlight& in_flight, int limit);

}  // namespace crmsync
