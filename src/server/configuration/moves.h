// Mailboxes that are to be at another target, as their relation says. It is noted where the
// relation is read, and carried out by the worker when nothing of them is under way any more; see
// the schema.
#pragma once

#include <vector>

#include "server/configuration/configuration.h"
#include "server/configuration/participants.h"
#include "server/postgres/query.h"

namespace crmsync {

// Marks those that are to be elsewhere, and takes the mark from the others.
void note_moves(const LinkConfiguration& link, const std::vector<Participant>& participants);

// Where the mailboxes of a link are to be, and which of them are elsewhere.
class Moves {
  public:
    // Reads and marks them in the current transaction.
    explicit Moves(const LinkConfiguration& link);

    const pg::IntegerArray& mailboxes() const { return mailboxes_; }

    // Those of them are at their new targets.
    void carry_out(const pg::IntegerArray& mailboxes) const;

  private:
    int link_;
    pg::TextArray addresses_;
    pg::TextArray targets_;
    pg::IntegerArray mailboxes_;
};

}  // namespace crmsync
