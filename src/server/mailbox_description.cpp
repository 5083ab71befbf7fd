#include "server/mailbox_description.h"

#include "server/participants.h"
#include "sync/stamp.h"

namespace crmsync {

namespace {

// Columns: id, address, folder_id, whether it is in trouble.
sync::MailboxDescription description_of(const Configuration& configuration,
                                        const LinkConfiguration& link, const pg::Rows& rows,
                                        std::uint64_t row) {
    const TargetConfiguration& target = configuration.targets.at(link.target);
    sync::MailboxDescription mailbox;
    mailbox.id = static_cast<int>(rows.integer(row, 0));
    mailbox.link = link.id;
    mailbox.target = link.target;
    mailbox.account = {rows.string(row, 1), target.impersonation, target.server_version};
    mailbox.object = link.rules.object;
    mailbox.folder_name = link.folder;
    mailbox.folder_id = rows.string(row, 2);
    mailbox.troubled = rows.boolean(row, 3);
    mailbox.stamp_prefix = sync::make_stamp(configuration.instance, link.name, {});
    mailbox.policy = link.rules.policy;
    mailbox.hard_delete = link.hard_delete;
    mailbox.inbound = link.inbound;
    return mailbox;
}

void add_mailboxes(const LinkConfiguration& link, const pg::TextArray& taking_part) {
    pg::query(
        "INSERT INTO crmsync.mailbox (link, address) SELECT $1, u.address "
        "FROM unnest($2::text[]) AS u(address) WHERE NOT EXISTS (SELECT FROM crmsync.mailbox m "
        "WHERE m.link = $1 AND m.address = u.address)",
        link.id, &taking_part);
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

std::vector<sync::MailboxDescription> describe_mailboxes(const Configuration& configuration,
                                                         const LinkConfiguration& link,
                                                         const pg::IntegerArray& ids) {
    const pg::Rows rows = pg::query(
        "SELECT id, address, coalesce(folder_id, ''), code IS NOT NULL FROM crmsync.mailbox "
        "WHERE id = ANY ($1)",
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
    pg::TextArray automatic;
    pg::TextArray others;
    if (!all) {
        for (Participant& participant : participants(link, Renames::noted)) {
            if (participant.enabled) {
                (participant.automatic ? automatic : others)
                    .push_back(std::move(participant.address));
            }
        }
        add_mailboxes(link, automatic);
    }
    const pg::Rows rows = pg::query(
        "SELECT m.id, m.address, coalesce(m.folder_id, ''), m.code IS NOT NULL, "
        "coalesce(m.sync_state, '') FROM crmsync.mailbox m WHERE m.link = $1 "
        "AND (m.code IS NULL OR m.next_attempt <= pg_catalog.now()) "
        "AND ($2 OR m.address = ANY ($3) OR m.started IS NOT NULL AND m.address = ANY ($4)) "
        "AND (NOT $5 OR m.started IS NOT NULL AND NOT m.started_read)",
        link.id, all, &automatic, &others, which == Reading::started);
    std::vector<MailboxToRead> mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        mailboxes.push_back({description_of(configuration, link, rows, row), rows.string(row, 4)});
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
