#include "server/mailbox_description.h"

#include "server/record_key.h"
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
    const pg::Rows rows = pg::query_as(link.owner, link.mailboxes_query);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        if (rows.boolean(row, 1) && rows.text(row, 0).size() <= longest_address) {
            addresses.push_back(rows.string(row, 0));
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
                                             const LinkConfiguration& link) {
    const bool all = link.mailboxes_query.empty();
    pg::TextArray participants;
    if (!all) {
        participants = taking_part(link);
        add_mailboxes(link, participants);
    }
    const pg::Rows rows = pg::query(
        "SELECT m.id, m.address, coalesce(m.folder_id, ''), m.code IS NOT NULL, "
        "coalesce(m.sync_state, '') FROM crmsync.mailbox m WHERE m.link = $1 "
        "AND (m.code IS NULL OR m.next_attempt <= pg_catalog.now()) "
        "AND ($2 OR m.address = ANY ($3))",
        link.id, all, &participants);
    std::vector<MailboxToRead> mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        mailboxes.push_back({description_of(configuration, link, rows, row), rows.string(row, 4)});
    }
    return mailboxes;
}

}  // namespace crmsync
