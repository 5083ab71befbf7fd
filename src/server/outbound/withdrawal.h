// Takes the items of a link out of mailboxes, because somebody has called withdraw or drop_link.
// Only our own tables say what is to be done, so that it also works for a link that is disabled, or
// whose relations are gone. What we made is deleted, when the guard lets it; what a user made is
// unlinked.
#pragma once

#include <functional>

#include "server/configuration/configuration.h"
#include "server/outbound/link_decision.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// Notes the next items that are to be deleted, in the current transaction. Returns true when there
// may be more: until all are noted the guard does not know their number.
bool mark_withdrawn(const LinkConfiguration& link);

// Adds unlinks to the work, also of copies that only resemble our items, of records that nothing
// else is going on for. Returns true when there may be more of them.
bool add_unlinks(const LinkConfiguration& link, sync::WorkInFlight& in_flight, Work& work);

// A mailbox of which nothing is left is done with, unless the engine has something to do there; and
// a link that is being dropped, unless something of it is in flight.
void finish_withdrawals(const LinkConfiguration& link, bool nothing_in_flight,
                        const std::function<bool(int mailbox)>& is_busy);

}  // namespace crmsync
