#include "server/configuration/moves.h"

#include <algorithm>

namespace crmsync {

namespace {

void add_places(const LinkConfiguration& link, const std::vector<Participant>& participants,
                pg::TextArray& addresses, pg::TextArray& targets) {
    for (const Participant& participant : participants) {
        if (participant.enabled) {
            addresses.push_back(participant.address);
            targets.push_back(participant.target.empty() ? link.target : participant.target);
        }
    }
}

void note(int link, const pg::TextArray& addresses, const pg::TextArray& targets) {
    pg::query("SELECT crmsync.note_moves($1, $2, $3)", link, &addresses, &targets);
}

}  // namespace

void note_moves(const LinkConfiguration& link, const std::vector<Participant>& participants) {
    const bool all_at_home = link.targets.size() == 1 && link.targets.front() == link.target;
    if (all_at_home &&
        std::all_of(participants.begin(), participants.end(),
                    [](const Participant& participant) { return participant.target.empty(); })) {
        return;
    }
    pg::TextArray addresses;
    pg::TextArray targets;
    add_places(link, participants, addresses, targets);
    note(link.id, addresses, targets);
}

Moves::Moves(const LinkConfiguration& link) : link_(link.id) {
    if (!link.mailboxes_query.empty()) {
        add_places(link, participants(link, Renames::noted), addresses_, targets_);
    } else {
        const pg::Rows away = pg::query(
            "SELECT address FROM crmsync.mailbox WHERE link = $1 AND target IS NOT NULL", link_);
        for (std::uint64_t row = 0; row < away.size(); ++row) {
            addresses_.push_back(away.string(row, 0));
            targets_.push_back(link.target);
        }
    }
    note(link_, addresses_, targets_);
    const pg::Rows marked =
        pg::query("SELECT id FROM crmsync.mailbox WHERE link = $1 AND code = 'MOVING'", link_);
    for (std::uint64_t row = 0; row < marked.size(); ++row) {
        mailboxes_.push_back(static_cast<int>(marked.integer(row, 0)));
    }
}

void Moves::carry_out(const pg::IntegerArray& mailboxes) const {
    pg::query("SELECT crmsync.move_mailboxes($1, $2, $3, $4)", link_, &mailboxes, &addresses_,
              &targets_);
}

}  // namespace crmsync
