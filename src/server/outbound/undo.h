// Bringing back what crmsync has overwritten (crmsync.undo). The table `undoing` says what is left
// to do, and a row goes when it is done, so that it does not matter how often it is begun.
//
// In a mailbox the old values are written as its user would write them: the shadow stays, so that
// the CRM's value goes out again only when it changes, and comes in where mailboxes are read. In
// the CRM they are written as one of its own users would. What somebody has changed since stays.
//
// crmsync.resolve uses it for fields that do not come in: the value that a user had is brought back
// where somebody has chosen it.
#pragma once

#include <vector>

#include "server/configuration/configuration.h"
#include "server/outbound/link_decision.h"
#include "sync/task.h"
#include "sync/work_in_flight.h"

namespace crmsync {

// Tasks for what is to be brought back in mailboxes, of items that nothing else goes on for. In
// the current transaction. Returns true when there may be more.
bool add_undos(const Configuration& configuration, const LinkConfiguration& link,
               sync::WorkInFlight& in_flight, Work& work);

// Brings back what is to be in the CRM's rows, some at a time, in a transaction of its own. Returns
// true when there may be more.
bool undo_rows(const Configuration& configuration, const LinkConfiguration& link);

// What has come of tasks of add_undos(), in the current transaction.
void note_undone(const std::vector<const sync::Outcome*>& outcomes);

}  // namespace crmsync
