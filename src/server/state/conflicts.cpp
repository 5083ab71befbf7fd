#include "server/state/conflicts.h"

namespace crmsync {

void note_conflicts(int mailbox, const std::string& record,
                    const std::vector<record::FieldConflict>& conflicts, Conflicts& noted) {
    for (const record::FieldConflict& conflict : conflicts) {
        noted.records.push_back(record);
        noted.mailboxes.push_back(mailbox);
        noted.properties.emplace_back(conflict.property->name);
        noted.crm_values.push_back(conflict.crm);
        noted.target_values.push_back(conflict.target);
        noted.winners.emplace_back(conflict.crm_won ? "crm" : "target");
    }
}

void write_conflicts(const Conflicts& conflicts) {
    if (conflicts.records.empty()) {
        return;
    }
    pg::query(
        "INSERT INTO crmsync.conflict "
        "(link, mailbox, record, kind, property, crm_value, target_value, winner) "
        "SELECT m.link, m.id, u.record, 'field', u.property, u.crm_value, u.target_value, u.winner "
        "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[]) "
        "AS u(record, mailbox, property, crm_value, target_value, winner) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox",
        &conflicts.records, &conflicts.mailboxes, &conflicts.properties, &conflicts.crm_values,
        &conflicts.target_values, &conflicts.winners);
}

}  // namespace crmsync
