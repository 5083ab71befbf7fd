#include "server/state/item_verdicts.h"

#include "server/state/arrivals.h"
#include "server/state/retry_pauses.h"

namespace crmsync {

void ItemVerdicts::write(int link) const {
    if (!well_.records.empty()) {
        pg::query(
            "DELETE FROM crmsync.failure f "
            "USING unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE f.link = $1 AND f.record = u.record AND f.mailbox = u.mailbox",
            link, &well_.records, &well_.mailboxes);
    }
    if (!nowhere_.records.empty()) {
        pg::query(
            "INSERT INTO crmsync.failure AS f "
            "(link, mailbox, record, code, message, next_attempt) SELECT $1, u.mailbox, u.record, "
            "u.code, u.message, pg_catalog.now() + " +
                retry_pauses("u.code") +
                "[1] FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[]) "
                "AS u(record, mailbox, code, message)" +
                or_once_more(),
            link, &nowhere_.records, &nowhere_.mailboxes, &codes_, &messages_);
    }
    if (!leave_.records.empty()) {
        pg::query(
            "UPDATE crmsync.item i SET state = 'leaving', confirmed = false, renew = false, "
            "since = pg_catalog.now() FROM unnest($2::text[], $3::integer[]) "
            "AS u(record, mailbox) WHERE i.link = $1 AND i.record = u.record "
            "AND i.mailbox = u.mailbox AND i.state = 'linked'",
            link, &leave_.records, &leave_.mailboxes);
    }
    if (!lose_stamp_.records.empty()) {
        pg::query(
            "UPDATE crmsync.item i SET stamped = false "
            "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox AND i.stamped "
            "AND i.state <> 'unlinked'",
            link, &lose_stamp_.records, &lose_stamp_.mailboxes);
    }
    if (!gain_stamp_.records.empty()) {
        pg::query(
            "UPDATE crmsync.item i SET stamped = true "
            "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox "
            "AND NOT i.stamped AND i.state = 'unlinked'",
            link, &gain_stamp_.records, &gain_stamp_.mailboxes);
    }
    if (!stay_.records.empty()) {
        pg::query(
            "UPDATE crmsync.item i SET state = 'linked', confirmed = false, "
            "since = pg_catalog.now() FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox "
            "AND i.state = 'leaving'",
            link, &stay_.records, &stay_.mailboxes);
    }
    if (!read_.records.empty()) {
        pg::query(
            "INSERT INTO crmsync.arrival (mailbox, remote_id) SELECT i.mailbox, i.remote_id "
            "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "JOIN crmsync.item i ON i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox "
            "JOIN crmsync.mailbox m ON m.id = i.mailbox "
            "WHERE i.remote_id IS NOT NULL FOR KEY SHARE OF m "
            "ON CONFLICT (mailbox, remote_id) DO NOTHING",
            link, &read_.records, &read_.mailboxes);
    }
    if (!come_in_.records.empty()) {
        pg::query(
            "UPDATE crmsync.arrival a SET next_attempt = LEAST(a.next_attempt, pg_catalog.now() + "
            "CASE a.attempts WHEN 1 THEN '0' WHEN 2 THEN '1 minute' ELSE '10 minutes' END"
            "::interval) FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "JOIN crmsync.mailbox m ON m.link = $1 AND m.id = u.mailbox "
            "WHERE a.mailbox = m.id AND u.record = ANY (a.records) AND a.code <> $4",
            link, &come_in_.records, &come_in_.mailboxes, std::string_view(ambiguous_code));
    }
    if (!forget_.records.empty()) {
        pg::query(
            "DELETE FROM crmsync.item i "
            "USING unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox",
            link, &forget_.records, &forget_.mailboxes);
    }
}

}  // namespace crmsync
