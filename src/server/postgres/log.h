// The server's log.
#pragma once

#include <string>

namespace crmsync::pg {

// Level as ereport's: LOG, WARNING, DEBUG1.
void log(int level, const std::string& text, const std::string& hint = {});

}  // namespace crmsync::pg
