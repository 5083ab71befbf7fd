#include "server/postgres/log.h"

#include "server/postgres/boundary.h"
#include "server/postgres/encoding.h"

namespace crmsync::pg {

void log(int level, const std::string& text, const std::string& hint) {
    const std::string line = in_database_encoding(text);
    const std::string more = in_database_encoding(hint);
    const char* message = line.c_str();
    const char* advice = more.c_str();
    guard([&] {
        ereport(level, (errmsg_internal("crmsync: %s", message),
                        *advice == '\0' ? 0 : errhint("%s", advice)));
    });
}

}  // namespace crmsync::pg
