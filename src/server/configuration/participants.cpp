#include "server/configuration/participants.h"

#include <string_view>
#include <unordered_map>

#include "server/configuration/moves.h"
#include "server/configuration/record_key.h"

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
        note_moves(link, result);
    }
    return result;
}

pg::Rows add_mailboxes(const LinkConfiguration& link, const std::vector<Participant>& participants,
                       const pg::TextArray& addresses) {
    std::unordered_map<std::string_view, std::string_view> named;
    for (const Participant& participant : participants) {
        named.emplace(participant.address, participant.target);
    }
    pg::TextArray targets;
    for (const std::string& address : addresses) {
        const auto target = named.find(address);
        targets.emplace_back(target == named.end() || target->second.empty()
                                 ? std::string_view(link.target)
                                 : target->second);
    }
    return pg::query("SELECT id, address FROM crmsync.add_mailboxes($1, $2, $3)", link.id,
                     &addresses, &targets);
}

}  // namespace crmsync
