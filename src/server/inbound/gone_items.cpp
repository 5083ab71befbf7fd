#include "server/inbound/gone_items.h"

#include <string_view>
#include <utility>

namespace crmsync {

using sync::Outcome;
using sync::Result;

// Nothing is believed to be deleted that was not asked for by its id.
GoneItems note_gone(const LinkConfiguration& link, const std::vector<const Outcome*>& gone) {
    GoneItems left;
    if (gone.empty()) {
        return left;
    }
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    for (const Outcome* outcome : gone) {
        mailboxes.push_back(outcome->mailbox);
        ids.push_back(outcome->item.id);
        left.settled.push_back(name_of(*outcome));
    }
    const sync::OnTargetDelete policy = link.rules.policy.on_target_delete;
    const std::string_view state = policy == sync::OnTargetDelete::unlink   ? "gone"
                                   : policy == sync::OnTargetDelete::remove ? "removed"
                                                                            : "absent";
    const pg::Rows absent = pg::query(
        "UPDATE crmsync.item i SET state = $4, confirmed = false, since = pg_catalog.now() "
        "FROM unnest($1::integer[], $2::text[]) AS u(mailbox, id) WHERE i.link = $3 "
        "AND i.mailbox = u.mailbox AND i.remote_id = u.id "
        "AND pg_catalog.hashtext(i.remote_id) = pg_catalog.hashtext(u.id) "
        "AND i.state = 'linked' AND NOT i.doubtful RETURNING i.record, i.mailbox",
        &mailboxes, &ids, link.id, state);
    pg::IntegerArray absent_in;
    pg::TextArray absent_records;
    for (std::uint64_t row = 0; row < absent.size(); ++row) {
        Outcome vanished{};
        vanished.mailbox = static_cast<int>(absent.integer(row, 1));
        vanished.result = Result::vanished;
        vanished.action = sync::Action::fetch;
        vanished.record = absent.string(row, 0);
        // Also where it is not made again the CRM may have changed it meanwhile.
        if (policy != sync::OnTargetDelete::unlink) {
            left.records.push_back(vanished.record);
        }
        left.history.push_back(std::move(vanished));
        absent_in.push_back(static_cast<int>(absent.integer(row, 1)));
        absent_records.push_back(absent.string(row, 0));
    }
    retry_ambiguous(absent_in, absent_records);
    // What we meant to delete is deleted; what we had left to its user has nobody any more.
    const pg::Rows deleted = pg::query(
        "DELETE FROM crmsync.item i USING unnest($1::integer[], $2::text[]) AS u(mailbox, id) "
        "WHERE i.link = $3 AND i.mailbox = u.mailbox AND i.remote_id = u.id "
        "AND pg_catalog.hashtext(i.remote_id) = pg_catalog.hashtext(u.id) "
        "AND (i.state IN ('leaving', 'unlinked') OR i.doubtful) RETURNING i.record",
        &mailboxes, &ids, link.id);
    for (std::uint64_t row = 0; row < deleted.size(); ++row) {
        left.records.push_back(deleted.string(row, 0));  // the CRM may want it there again
    }
    pg::query(
        "DELETE FROM crmsync.conflict c USING unnest($1::integer[], $2::text[]) AS u(mailbox, id) "
        "WHERE c.mailbox = u.mailbox AND c.item = u.id AND c.kind = 'ambiguous'",
        &mailboxes, &ids);
    return left;
}

}  // namespace crmsync
