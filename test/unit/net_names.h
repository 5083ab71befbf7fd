// Stands in for the name server in this test program: getaddrinfo(), also libcurl's, knows the
// names below without any network, and asks the real one for all others.
//   missing.test  does not exist
//   slow.test     takes slow_lookup to be found not to exist
#pragma once

#include <chrono>

namespace crmsync::test {

constexpr std::chrono::milliseconds slow_lookup{3'000};

// How many look-ups of slow.test have begun, and how many of these ran with SIGTERM not blocked.
int slow_lookups_begun();
int lookups_open_to_signals();

}  // namespace crmsync::test
