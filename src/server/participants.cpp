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
        result.push_back(
            {rows.string(row, 0), rows.boolean(row, 1), rows.boolean(row, 2), rows.string(row, 4)});
        if (!rows.is_null(row, 3)) {
            addresses.push_back(rows.string(row, 0));
            ids.push_back(rows.string(row, 3));
        }
    }
    if (renames == Renames::noted && !ids.empty()) {
        pg::query("SELECT crmsync.know_mailboxes($1, $2, $3)", link.id, &addresses, &ids);
    }
    if (renames == Renames::noted) {
        place(link, result);
    }
    return result;
}

void place(const LinkConfiguration& link, const std::vector<Participant>& participants) {
    pg::TextArray addresses;
    pg::TextArray targets;
    bool any_named = false;
    for (const Participant& participant : participants) {
        if (participant.enabled) {
            any_named |= !participant.target.empty();
            addresses.push_back(participant.address);
            targets.push_back(participant.target.empty() ? link.target : participant.target);
        }
    }
    if (any_named || link.targets.size() > 1) {
        pg::query("SELECT crmsync.place_mailboxes($1, $2, $3)", link.id, &addresses, &targets);
    }
}

}  // namespace crmsync
