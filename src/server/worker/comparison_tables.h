// What a comparison reads as the link's owner, in temporary tables: they stand between the owner's
// queries, which must not see our tables, and ours, which must not run as the owner.
#pragma once

#include <cstdint>
#include <string>

#include "server/configuration/configuration.h"
#include "server/postgres/query.h"

namespace crmsync {

// A statement of a comparison, with the link as $1.
void once(const std::string& sql, int link);

// Rows of the audience that nothing can be done for.
struct LeftOut {
    std::int64_t without_mailbox = 0;
    std::int64_t long_keys = 0;
};

// Who takes part, in crmsync_mailboxes. In mailboxes that did not when it was last looked at
// anything may have been missed, and at another target everything is to be looked for: these are in
// crmsync_returned. Nothing is made where the link has no relation of mailboxes.
void read_mailboxes(const LinkConfiguration& link);

// Which records the audience has, in crmsync_records: where every record is looked at, it does not
// matter which mailboxes it should be in, and an initial load begins in two thirds of the time.
LeftOut read_records(const LinkConfiguration& link);

// The audience, in crmsync_audience: all of it, or at least that of the mailboxes that have
// returned. Of both, the records for which it fails are in crmsync_unreadable.
LeftOut read_audience(const LinkConfiguration& link);
void read_returned_audience(const LinkConfiguration& link);

}  // namespace crmsync
