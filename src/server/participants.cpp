#include "server/participants.h"

#include "server/query.h"
#include "server/record_key.h"

namespace crmsync {

std::vector<Participant> participants(const LinkConfiguration& link, Renames renames) {
    const pg::Rows rows = pg::query_as(link.owner, link.mailboxes_query);
    std::vector<Participant> result;
    pg::TextArray addresses;
    pg::TextArray ids;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        if (rows.text(row, 0).size() > longest_address) {
            continue;
        }
        result.push_back({rows.string(row, 0), rows.boolean(row, 1), rows.boolean(row, 2)});
        if (!rows.is_null(row, 3)) {
            addresses.push_back(rows.string(row, 0));
            ids.push_back(rows.string(row, 3));
        }
    }
    if (renames == Renames::noted && !ids.empty()) {
        pg::query("SELECT crmsync.know_mailboxes($1, $2, $3)", link.id, &addresses, &ids);
    }
    return result;
}

}  // namespace crmsync
