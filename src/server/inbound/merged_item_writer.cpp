#include "server/inbound/merged_item_writer.h"

#include "server/postgres/array_rows.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

void insert_adopted(int link, const std::vector<MergedItem>& items) {
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    for (const MergedItem& item : items) {
        if (item.adopted) {
            records.push_back(item.record);
            mailboxes.push_back(item.outcome->mailbox);
            ids.push_back(item.outcome->item.id);
        }
    }
    if (records.empty()) {
        return;
    }
    pg::query(
        "INSERT INTO crmsync.item (link, record, mailbox, remote_id, origin, stamped) "
        "SELECT $1, u.record, u.mailbox, u.id, 'adopted', false "
        "FROM unnest($2::text[], $3::integer[], $4::text[]) AS u(record, mailbox, id) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox FOR KEY SHARE OF m "
        "ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
        "change_key = NULL, shadow = NULL, origin = 'adopted', stamped = false, "
        "state = 'linked', confirmed = false, since = pg_catalog.now()",
        link, &records, &mailboxes, &ids);
}

}  // namespace

void write_merged_items(int link, const std::vector<MergedItem>& items) {
    if (items.empty()) {
        return;
    }
    insert_adopted(link, items);
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray change_keys;
    pg::JsonbArray shadows;
    for (const MergedItem& item : items) {
        records.push_back(item.record);
        mailboxes.push_back(item.outcome->mailbox);
        change_keys.push_back(item.outcome->held.item.change_key);
        shadows.documents.push_back(document_of(item.agreed));
    }
    pg::query(
        "UPDATE crmsync.item i SET change_key = u.change_key, "
        "shadow = pg_catalog.jsonb_strip_nulls(coalesce(i.shadow, '{}') || u.shadow) "
        "FROM " +
            array_rows({{"record", "text"},
                        {"mailbox", "integer"},
                        {"change_key", "text"},
                        {"shadow", "jsonb"}}) +
            "WHERE i.link = $5 AND i.record = u.record AND i.mailbox = u.mailbox",
        &records, &mailboxes, &change_keys, &shadows, link);
}

}  // namespace crmsync
