// When what failed for a record, or for a user's item, is tried again.
#pragma once

#include <string>

namespace crmsync {

// An SQL expression over the code of a failure: an array of the pause after the first failure,
// after the second, ...; then it is parked. Where the server itself does not know what went wrong
// it may do better tomorrow.
inline std::string retry_pauses(const std::string& code) {
    return "(CASE WHEN " + code +
           " IN ('ErrorInternalServerError', 'HTTP-400') "
           "THEN ARRAY[interval '1 minute', '10 minutes', '1 hour', '6 hours', '24 hours'] "
           "ELSE ARRAY[interval '1 minute', '10 minutes'] END)";
}

// What ends an INSERT INTO crmsync.failure AS f: one that has failed before has once more.
inline std::string or_once_more() {
    return " ON CONFLICT (link, mailbox, record) DO UPDATE "
           "SET attempts = f.attempts + excluded.attempts, code = excluded.code, "
           "message = excluded.message, refused = excluded.refused, "
           "next_attempt = CASE WHEN excluded.code <> 'POSTPONED' THEN pg_catalog.now() + " +
           retry_pauses("excluded.code") + "[f.attempts + 1] END";
}

}  // namespace crmsync
