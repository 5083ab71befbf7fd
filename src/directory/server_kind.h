// What kind of server answers, from its root DSE (RFC 4512, 5.1) and schema.
#pragma once

#include <string>
#include <vector>

#include "directory/connection.h"
#include "directory/search.h"

namespace crmsync::directory {

struct ServerKind {
    bool is_active_directory = false;  // also Samba and AD LDS
    bool is_lightweight = false;       // AD LDS
    std::string vendor;                // for people; may be empty
    std::string key_attribute;         // entryUUID, objectGUID, nsUniqueId or ipaUniqueID
    bool supports_paging = false;
    int page_size = smallest_page_size;  // what it lets everybody have, as it is installed
    std::vector<std::string> naming_contexts;
    std::string subschema;  // the entry with the schema; may be empty

    // The naming context that holds this name, or an empty string.
    std::string context_of(const std::string& dn) const;
};

// Throws Error.
ServerKind probe(Connection& connection);

}  // namespace crmsync::directory
