// The next piece of work of a link: reads the records that are pending, who should have them and
// who has them, decides, and returns tasks for the engine. One transaction, without the network.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/configuration.h"
#include "server/work_in_flight.h"
#include "sync/task.h"

namespace crmsync {

struct Work {
    std::vector<sync::MailboxDescription> mailboxes;
    std::vector<std::pair<int, sync::Task>> tasks;  // mailbox, task
    std::vector<sync::Outcome> outcomes;            // what ended without the network
    struct Begun {
        std::string record;
        std::vector<PendingRow> rows;
        int outcomes;
    };
    std::vector<Begun> begun;
    bool more = false;          // there is more pending than was read
    bool more_deletes = false;  // there are more deletes than were taken
    std::size_t pairs = 0;
    std::int64_t unchanged = 0;  // records that needed nothing
};

// Where in `pending` the worker is: it goes round, so that records in flight at the head are not
// read again and again.
struct PendingPosition {
    std::string after[2];  // by tier
    bool took = false;     // something, in this round
    double pairs_per_record = 20;
    int divisor = 1;  // of how many are read at once, since more took too long

    bool at_start() const { return after[0].empty() && after[1].empty(); }

    // Less at once from now on. False: it is one record already.
    bool shrink();
};

// Reads and decides in the current transaction, which the caller commits before it uses the result.
Work next_work(const Configuration& configuration, const LinkConfiguration& link,
               WorkInFlight& in_flight, PendingPosition& position);

// What would be done for some records, by the same decisions, with nothing written anywhere.
struct Outlook {
    Work work;
    struct Leaving {
        std::string record;
        int mailbox;
        bool exists;            // the record has only left the audience
        bool confirmed;         // the guard lets it pass
        std::string waits_for;  // what is in the way beside the guard; empty: nothing
    };
    std::vector<Leaving> leaving;          // items that are to be deleted, now or since before
    std::map<int, std::string> addresses;  // of the mailboxes that are named here
};

Outlook look_ahead(const Configuration& configuration, const LinkConfiguration& link,
                   const std::vector<std::string>& records);

// How many records of a link are pending.
std::int64_t pending_records(int link);

// Removes rows of `pending` that are settled, unless they were named again meanwhile.
void settle_pending(const std::vector<PendingRow>& rows);

}  // namespace crmsync
