#include "server/crm/source_keys.h"

namespace crmsync {

std::set<std::string> keys_in_source(const LinkConfiguration& link, const pg::TextArray& keys) {
    const pg::Rows rows =
        pg::query_as(link.owner,
                     "SELECT t." + link.key + "::text FROM " + link.source + " AS t WHERE t." +
                         link.key + " = ANY ($1::text[]::" + link.key_type + "[])",
                     &keys);
    std::set<std::string> found;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        found.insert(rows.string(row, 0));
    }
    return found;
}

}  // namespace crmsync
