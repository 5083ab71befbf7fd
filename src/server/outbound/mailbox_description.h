// What the engine has to know of the mailboxes of a link.
#pragma once

#include <string>
#include <vector>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"
#include "sync/task.h"

namespace crmsync {

// Addresses of those that the link's relation of mailboxes lets take part, read as its owner. The
// link must have one.
pg::TextArray taking_part(const LinkConfiguration& link);

// Mailboxes of the link that take no part at present, in the current transaction: nothing is to be
// asked for there.
pg::IntegerArray absent_mailboxes(const LinkConfiguration& link);

// In the current transaction.
std::vector<sync::MailboxDescription> describe_mailboxes(const Configuration& configuration,
                                                         const LinkConfiguration& link,
                                                         const pg::IntegerArray& ids);

// A mailbox of an inbound link that is to be read now, and from which sync state on.
struct MailboxToRead {
    sync::MailboxDescription description;
    std::string state;
    bool awaited;  // somebody has asked for it, or it is being read from the start
};

// Which of them: all whose turn it is, or only those that somebody has asked for.
enum class Reading { all, started };

// Those that take part and work, in the current transaction. Who takes part without being known yet
// is known from now on.
std::vector<MailboxToRead> mailboxes_to_read(const Configuration& configuration,
                                             const LinkConfiguration& link, Reading which);

// Whether there are mailboxes that somebody has asked for and that have not been read since.
bool any_to_read(const LinkConfiguration& link);

}  // namespace crmsync
