// What is known of some records before anything is decided: what the CRM says of them, read as the
// link's owner, and what our own tables say.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/configuration/desired_record.h"
#include "server/state/pending_records.h"
#include "sync/decision.h"
#include "sync/task.h"

namespace crmsync {

// A mailbox that one of the records concerns.
struct MailboxFacts {
    int id = 0;
    std::string address;
    bool takes_part = true;
    bool available = true;
    bool started = false;  // somebody has asked for it, whether or not it is automatic
    bool met = true;       // what its user had before is known
    bool moving = false;   // to another target, until all that is ours has been looked for there
    std::string code;
    std::string message;
};

// One record in one mailbox.
struct CopyFacts {
    bool in_audience = false;
    std::optional<sync::KnownItem> item;
    bool confirmed = false;     // of an item that is leaving: the guard lets it pass
    bool may_be_there = false;  // as an item of the user's that nobody has decided about yet
};

// What could not be done before.
struct KnownFailure {
    bool holds_back;  // it is not to be tried again yet
    bool of_values;   // of the record in the CRM, not of the mailbox: who can read it knows better
    std::string code;
    std::string message;
};

struct RecordFacts {
    std::vector<sync::PendingRow> rows;
    bool fresh = false;     // the CRM has just changed it
    bool compared = false;  // named by a comparison, or by what it leads to
    bool exists = false;
    bool unreadable = false;           // whether it exists is not known: its expressions fail
    bool audience_unreadable = false;  // or where it belongs is not
    std::string code = "VALUE";
    std::string problem;  // why its values cannot be sent
    std::shared_ptr<sync::Desired> desired;
    OwnTexts texts;
    std::map<const MailboxFacts*, CopyFacts> copies;
    std::map<int, KnownFailure> failures;  // by mailbox
};

struct Facts {
    std::map<std::string, RecordFacts> records;
    std::map<std::string, MailboxFacts> mailboxes;  // by address
};

// SQL for the rows i of a table of ours for the link $1 and the records $2, looked up one by one:
// whatever the planner takes the table to hold, it is never read whole. (It may have been empty a
// minute ago.)
std::string for_each_record(const std::string& table);

// Mailboxes that have no row yet get one, or only a number that nobody else knows.
enum class NewMailboxes { stored, numbered };

// The records are in more mailboxes than may be read at once: some of them go together.
struct TooManyPairs {};

// Reads in the current transaction. The records point into the mailboxes: the result may be moved,
// and not copied. most_pairs: throws TooManyPairs where several records are, or belong, in more
// mailboxes than that; 0: never.
Facts read_facts(const Configuration& configuration, const LinkConfiguration& link,
                 PendingRecords records, NewMailboxes new_mailboxes, std::uint64_t most_pairs = 0);

}  // namespace crmsync
