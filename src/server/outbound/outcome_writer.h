// Writes what came of the tasks: items with their shadows, failures, history, health, and settled
// rows of `pending`. One transaction, a handful of set-based statements, whatever the number.
#pragma once

#include <set>
#include <vector>

#include "sync/task.h"
#include "sync/work_in_flight.h"

namespace crmsync {

struct Results {
    std::vector<sync::Outcome> outcomes;
    std::vector<sync::MailboxChange> mailboxes;
    std::vector<sync::TargetChange> targets;
    std::vector<sync::FolderPage> pages;
    std::vector<sync::StampPage> stamp_pages;
    std::vector<int> look_again;  // mailboxes where something may yet be created, or deleted
    std::vector<int> echoing;     // mailboxes where items were made that a reading has to name
    std::vector<sync::PendingRow> settled;

    bool empty() const {
        return outcomes.empty() && mailboxes.empty() && targets.empty() && pages.empty() &&
               stamp_pages.empty() && look_again.empty() && settled.empty();
    }
};

// Notes, in the current transaction, what could not be done.
void write_failures(const std::vector<const sync::Outcome*>& failed);

// Commits lazily: after a crash the stamps are listed again, an
// update is repeated and a delete finds nothing, so what is lost is found out again.
//
// links: those that the results are of. Where somebody is removing some of them nothing is written,
// and these are returned.
std::set<int> write_results(const Results& results, const std::set<int>& links);

}  // namespace crmsync
