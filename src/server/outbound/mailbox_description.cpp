#include "server/outbound/mailbox_description.h"

#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "server/configuration/participants.h"
#include "server/state/late_creates.h"
#include "server/state/may_be_asked.h"
#include "sync/stamp.h"

namespace crmsync {

namespace {

// Columns: id, address, folder_id, whether it is in trouble, the target if it is not the link's,
// deleted_folder.
sync::MailboxDescription description_of(const Configuration& configuration,
                                        const LinkConfiguration& link, const pg::Rows& rows,
                                        std::uint64_t row) {
    const std::string name = rows.is_null(row, 4) ? link.target : rows.string(row, 4);
    const auto known = configuration.targets.find(name);
    if (known == configuration.targets.end()) {
        throw pg::Error{.sqlstate = ERRCODE_T_R_SERIALIZATION_FAILURE,
                        .message = "target " + name + " is newer than what was read"};
    }
    const TargetConfiguration& target = known->second;
    sync::MailboxDescription mailbox;
    mailbox.id = static_cast<int>(rows.integer(row, 0));
    mailbox.link = link.id;
    mailbox.target = name;
    mailbox.account = {rows.string(row, 1), target.impersonation, target.server_version};
    mailbox.object = link.rules.object;
    mailbox.folder_name = link.folder;
    mailbox.folder_id = rows.string(row, 2);
    mailbox.troubled = rows.boolean(row, 3);
    mailbox.deleted_folder = rows.string(row, 5);
    mailbox.stamp_prefix = sync::make_stamp(configuration.instance, link.name, {});
    mailbox.key_property = link.key_property;
    mailbox.policy = link.rules.policy;
    mailbox.hard_delete = link.hard_delete;
    mailbox.most_create_delay = std::chrono::microseconds(longest_delay());
    mailbox.inbound = link.inbound;
    return mailbox;
}

using ByAddress = std::unordered_map<std::string_view, const Participant*>;

ByAddress by_address(const std::vector<Participant>& participants) {
    ByAddress result;
    for (const Participant& participant : participants) {
        result.emplace(participant.address, &participant);
    }
    return result;
}

bool takes_part(const ByAddress& participants, std::string_view address, bool started) {
    const auto known = participants.find(address);
    return known != participants.end() && known->second->takes_part(started);
}

// Who takes part by himself and is not known yet. Compared here: for a thousand that are known, a
// join would look each of them up.
void add_mailboxes(const LinkConfiguration& link, const std::vector<Participant>& participants) {
    const pg::Rows known =
        pg::query("SELECT address FROM crmsync.mailbox WHERE link = $1", link.id);
    std::unordered_set<std::string> addresses;
    for (std::uint64_t row = 0; row < known.size(); ++row) {
        addresses.insert(known.string(row, 0));
    }
    pg::TextArray missing;
    for (const Participant& participant : participants) {
        if (participant.takes_part(false) && !addresses.contains(participant.address)) {
            missing.push_back(participant.address);
        }
    }
    if (!missing.empty()) {
        add_mailboxes(link, participants, missing);
    }
}

}  // namespace

pg::TextArray taking_part(const LinkConfiguration& link) {
    pg::TextArray addresses;
    for (Participant& participant : participants(link, Renames::noted)) {
        if (participant.enabled) {
            addresses.push_back(std::move(participant.address));
        }
    }
    return addresses;
}

pg::IntegerArray absent_mailboxes(const LinkConfiguration& link) {
    pg::IntegerArray absent;
    if (link.mailboxes_query.empty()) {
        return absent;
    }
    const std::vector<Participant> given = participants(link, Renames::ignored);
    const ByAddress known = by_address(given);
    const pg::Rows rows = pg::query(
        "SELECT id, address, started IS NOT NULL FROM crmsync.mailbox WHERE link = $1", link.id);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        if (!takes_part(known, rows.text(row, 1), rows.boolean(row, 2))) {
            absent.push_back(static_cast<int>(rows.integer(row, 0)));
        }
    }
    return absent;
}

std::vector<sync::MailboxDescription> describe_mailboxes(const Configuration& configuration,
                                                         const LinkConfiguration& link,
                                                         const pg::IntegerArray& ids) {
    const pg::Rows rows = pg::query(
        "SELECT id, address, coalesce(folder_id, ''), code IS NOT NULL, target, "
        "coalesce(deleted_folder, '') FROM crmsync.mailbox WHERE id = ANY ($1)",
        &ids);
    std::vector<sync::MailboxDescription> mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        mailboxes.push_back(description_of(configuration, link, rows, row));
    }
    return mailboxes;
}

std::vector<MailboxToRead> mailboxes_to_read(const Configuration& configuration,
                                             const LinkConfiguration& link, Reading which) {
    const bool all = link.mailboxes_query.empty();
    std::vector<Participant> given;
    if (!all) {
        given = participants(link, Renames::noted);
        add_mailboxes(link, given);
    }
    const ByAddress known = by_address(given);
    const pg::Rows rows = pg::query(
        "SELECT m.id, m.address, coalesce(m.folder_id, ''), m.code IS NOT NULL, m.target, "
        "coalesce(m.deleted_folder, ''), coalesce(m.sync_state, ''), m.listing IS NOT NULL, "
        "m.started IS NOT NULL FROM crmsync.mailbox m "
        "WHERE m.link = $1 AND (NOT $2 OR m.started IS NOT NULL AND NOT m.started_read) AND " +
            may_be_asked,
        link.id, which == Reading::started);
    std::vector<MailboxToRead> mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const bool started = rows.boolean(row, 8);
        if (!all && !takes_part(known, rows.text(row, 1), started)) {
            continue;
        }
        mailboxes.push_back({description_of(configuration, link, rows, row), rows.string(row, 6),
                             rows.boolean(row, 7) || started});
    }
    return mailboxes;
}

bool any_to_read(const LinkConfiguration& link) {
    return !pg::query(
                "SELECT FROM crmsync.mailbox WHERE link = $1 AND started IS NOT NULL "
                "AND NOT started_read",
                link.id)
                .empty();
}

}  // namespace crmsync
