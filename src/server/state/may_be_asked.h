// Conditions of queries: what may be asked of a mailbox now.
#pragma once

#include <string>

namespace crmsync {

// The mailbox m: it works, or it is time to try again whether it does.
inline const std::string may_be_asked = "(m.code IS NULL OR m.next_attempt <= pg_catalog.now()) ";

// The item i (link, record, mailbox): it has not failed, or it is time to try it again. What could
// not be reached waits for its mailbox only.
inline const std::string has_no_pause =
    "NOT EXISTS (SELECT FROM crmsync.failure f WHERE f.link = i.link "
    "AND f.mailbox = i.mailbox AND f.record = i.record AND f.code <> 'POSTPONED' "
    "AND (f.next_attempt IS NULL OR f.next_attempt > pg_catalog.now())) ";

}  // namespace crmsync
