// When what failed for a record, or for a user's item, is tried again.
#pragma once

namespace crmsync {

// An SQL array: the pause after the first failure, after the second, ...; then it is parked.
inline constexpr const char* retry_pauses = "ARRAY[interval '1 minute', interval '10 minutes']";

}  // namespace crmsync
