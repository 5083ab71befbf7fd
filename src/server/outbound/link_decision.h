// What is to be done for some records, decided by what is known of them: tasks for the engine, what
// ended without the network, and verdicts on items.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/outbound/record_facts.h"
#include "server/postgres/query.h"
#include "server/state/item_verdicts.h"
#include "sync/task.h"
#include "sync/work_in_flight.h"

namespace crmsync {

using RecordInMailbox = std::pair<std::string, int>;

struct Work {
    std::vector<sync::MailboxDescription> mailboxes;
    std::vector<std::pair<int, sync::Task>> tasks;  // mailbox, task
    std::vector<sync::Outcome> outcomes;            // what ended without the network
    struct Begun {
        std::string record;
        std::vector<sync::PendingRow> rows;  // that were decided: none of what was only added
        std::vector<int> mailboxes;          // an outcome will come from each
    };
    std::vector<Begun> begun;
    bool more = false;          // there is more pending than was read
    bool more_deletes = false;  // there are more deletes than were taken
    pg::IntegerArray crowded;   // mailboxes whose deletes wait until less goes on there
    bool unmet = false;         // something waits for a mailbox to be read
    std::size_t pairs = 0;
    std::int64_t unchanged = 0;  // records that needed nothing

    // What is begun, by record and mailbox.
    std::set<RecordInMailbox> begun_in() const;
    // Further tasks of these records, in these mailboxes, whether or not others of them are begun.
    void begin_also(const std::map<std::string, std::vector<int>>& mailboxes_of);
};

struct LinkDecision {
    Work work;
    ItemVerdicts verdicts;
    std::vector<sync::PendingRow> settled;  // rows of records that need nothing
    pg::TextArray looked_at;                // records
    pg::TextArray waiting;                  // those to be created in a mailbox that is yet unread
};

// Leaves out where something goes on for a record already.
LinkDecision decide_work(const LinkConfiguration& link, const Facts& facts,
                         sync::WorkInFlight& in_flight);

// What would be done, for who only wants to know.
struct Outlook {
    Work work;
    struct Leaving {
        std::string record;
        int mailbox;
        std::string reason;
        bool confirmed;         // the guard lets it pass
        std::string waits_for;  // what is in the way beside the guard; empty: nothing
        bool in_crm = false;    // the record is to be deleted, not the item
    };
    std::vector<Leaving> leaving;          // what is to be deleted, now or since before
    std::map<int, std::string> addresses;  // of the mailboxes that are named here
};

Outlook decide_outlook(const LinkConfiguration& link, const Facts& facts);

}  // namespace crmsync
