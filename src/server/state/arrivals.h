// Items of mailboxes that are to be looked at, because somebody else has changed them: read a piece
// at a time, fetched by the engine, and removed when what they hold has come in.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "record/date.h"
#include "server/configuration/configuration.h"
#include "sync/task.h"
#include "sync/work_in_flight.h"

namespace crmsync {

using ItemName = std::pair<int, std::string>;  // mailbox, id at the target

inline ItemName name_of(const sync::Outcome& outcome) {
    return {outcome.mailbox, outcome.item.id};
}

// When its user made an item that was read, as text that sorts; empty: unknown.
inline std::string made_at(const sync::Outcome& outcome) {
    return outcome.held.created ? record::timestamp_text(*outcome.held.created) : std::string();
}

struct Fetch {
    int mailbox;
    sync::Task task;
};

// Tasks that fetch the next ones, in the current transaction. Left out: those in absent mailboxes,
// those under way, those that are fetched for a repair, and those that something else goes on for.
// `more` is set when there may be others.
std::vector<Fetch> next_fetches(const LinkConfiguration& link, const pg::IntegerArray& absent,
                                const std::set<ItemName>& under_way,
                                const std::set<ItemName>& for_repair, sync::WorkInFlight& in_flight,
                                bool& more);

// Whether there is room for more beside what is under way.
bool may_fetch(const std::set<ItemName>& under_way);

// Notes which mailboxes are known now: read to the end, with nothing left that has yet to come in.
// Items that have waited for this are looked at first. Then what was held back there becomes due
// for a comparison. Returns whether there are any.
bool note_met_mailboxes(const LinkConfiguration& link);

// Those among what was read that somebody may have changed since, as a later reading of the folder
// says: their arrivals stay, and they are fetched again.
std::set<const sync::Outcome*> noticed_since(const std::vector<sync::Outcome>& outcomes);

// These have been dealt with. Records that one of them may have been of are looked at again.
void settle_arrivals(const std::vector<ItemName>& items);

// These have to wait for somebody: looked at again in a moment.
void postpone_arrivals(const std::vector<ItemName>& items);

// What could not come in of items that were written is looked at again, also what is parked: they
// are written only while nothing has to come in.
void retry_written(const std::vector<const sync::Outcome*>& written);

inline constexpr const char* ambiguous_code = "AMBIGUOUS";

// These could not come in: tried again with growing pauses, then parked. Records that one of them
// may have been of, and is not any more, are looked at again.
struct ArrivalFailure {
    ItemName item;
    std::string code;
    std::string message;
    pg::TextArray records{};  // that the item may be of; with ambiguous_code somebody has to decide
    std::string created{};    // with records: when its user made it
    bool unread = false;      // the server did not show it: what it may be of is as before
};
void write_arrival_failures(const LinkConfiguration& link,
                            const std::vector<ArrivalFailure>& failures);

// These may be of records, and wait until all items of their mailbox are known.
struct WaitingArrival {
    ItemName item;
    pg::TextArray records;
    std::string created;  // when its user made it
};
void write_waiting(const std::vector<WaitingArrival>& waiting);

// Items that could be of these records as well, which have no item in these mailboxes any more, are
// looked at again.
void retry_ambiguous(const pg::IntegerArray& mailboxes, const pg::TextArray& records);

}  // namespace crmsync
