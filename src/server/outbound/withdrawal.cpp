#include "server/outbound/withdrawal.h"

#include "server/outbound/mailbox_description.h"
#include "server/postgres/query.h"
#include "server/state/item_verdicts.h"
#include "server/state/may_be_asked.h"

namespace crmsync {

namespace {

// Rows of ours that change in one transaction of the worker that serves all links.
constexpr std::int32_t most_marked_at_once = 5000;
constexpr std::int32_t most_mailboxes_at_once = 200;
constexpr std::int32_t most_unlinks_at_once = 2000;

// What bears our stamp, or may bear it, and is not to be deleted.
const std::string has_stamp_to_lose = "(i.state = 'linked' OR i.state = 'unlinked' AND i.stamped) ";

bool any_withdrawals(int link) {
    return !pg::query(
                "SELECT FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
                "WHERE m.link = $1 AND p.mode = 'withdraw' LIMIT 1",
                link)
                .empty();
}

// Whom the link fills again has an end of it. What was already noted there is decided anew, and
// what has not been looked at nobody will look at.
void keep_those_taking_part(const LinkConfiguration& link) {
    const bool all = link.mailboxes_query.empty();
    const pg::TextArray participants = all ? pg::TextArray() : taking_part(link);
    const pg::Rows kept = pg::query(
        "WITH kept AS (DELETE FROM crmsync.repair p USING crmsync.mailbox m "
        "WHERE m.id = p.mailbox AND p.mode = 'withdraw' AND m.link = $1 "
        "AND ($2 OR m.address = ANY ($3)) RETURNING p.mailbox), "
        "unseen AS (DELETE FROM crmsync.sighting s USING kept k WHERE s.mailbox = k.mailbox "
        "AND s.kind NOT IN ('surplus', 'stray')) SELECT mailbox FROM kept",
        link.id, all, &participants);
    if (!kept.empty()) {
        pg::query("SELECT crmsync.request_comparison($1, 'everything')", link.id);
    }
}

// The next items in one mailbox. Returns how many.
std::size_t mark(int mailbox) {
    // A record that is gone from the CRM takes along what its users made. Here nothing does.
    return pg::query(
               "UPDATE crmsync.item i SET since = pg_catalog.now(), confirmed = false, "
               "state = CASE WHEN i.origin = 'crm' THEN 'leaving' ELSE 'linked' END "
               "WHERE i.mailbox = $1 AND (i.link, i.record) IN ("
               "SELECT o.link, o.record FROM crmsync.item o WHERE o.mailbox = $1 "
               "AND o.state = CASE WHEN o.origin = 'crm' THEN 'linked' ELSE 'leaving' END "
               "LIMIT $2) RETURNING 1",
               mailbox, most_marked_at_once)
        .size();
}

}  // namespace

bool mark_withdrawn(const LinkConfiguration& link) {
    if (!any_withdrawals(link.id)) {
        return false;
    }
    if (link.enabled) {
        keep_those_taking_part(link);
    }
    const pg::Rows mailboxes = pg::query(
        "SELECT p.mailbox FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
        "WHERE m.link = $1 AND p.mode = 'withdraw' AND p.step = 'mark' AND " +
            may_be_asked + "LIMIT $2",
        link.id, most_mailboxes_at_once);
    std::size_t marked = 0;
    for (std::uint64_t row = 0; row < mailboxes.size() && marked < most_marked_at_once; ++row) {
        const int mailbox = static_cast<int>(mailboxes.integer(row, 0));
        const std::size_t here = mark(mailbox);
        marked += here;
        if (here < most_marked_at_once) {
            // What has arrived there has nowhere to come in any more.
            pg::query("DELETE FROM crmsync.arrival WHERE mailbox = $1", mailbox);
            // Before it is listed, so that the guard knows from the start how much is meant; and
            // after that for what the listing has found.
            pg::query(
                "UPDATE crmsync.repair SET step = CASE WHEN began >= since THEN 'unlink' "
                "ELSE 'list' END WHERE mailbox = $1",
                mailbox);
        }
    }
    return marked >= most_marked_at_once || mailboxes.size() == most_mailboxes_at_once;
}

bool add_unlinks(const LinkConfiguration& link, sync::WorkInFlight& in_flight, Work& work) {
    const pg::Rows rows = pg::query(
        "SELECT i.record, i.mailbox, coalesce(i.remote_id, ''), coalesce(i.change_key, ''), "
        "i.is_copy "
        "FROM (SELECT i.link, i.mailbox, i.record, i.remote_id, i.change_key, false AS is_copy "
        "FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
        "JOIN crmsync.item i ON i.mailbox = p.mailbox AND " +
            has_stamp_to_lose +
            "WHERE m.link = $1 AND p.mode = 'withdraw' AND p.step = 'unlink' "
            "UNION ALL SELECT m.link, s.mailbox, s.record, s.remote_id, s.change_key, true "
            "FROM crmsync.sighting s JOIN crmsync.mailbox m ON m.id = s.mailbox "
            "WHERE m.link = $1 AND s.kind = 'stray') i JOIN crmsync.mailbox m ON m.id = i.mailbox "
            "WHERE " +
            may_be_asked + "AND " + has_no_pause + "LIMIT $2",
        link.id, most_unlinks_at_once);
    std::set<RecordInMailbox> about_to_be = work.begun_in();
    ItemVerdicts verdicts;
    std::map<std::string, std::vector<int>> begun;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        sync::Task task{};
        task.action = sync::Action::unlink;
        task.record = rows.string(row, 0);
        const int mailbox = static_cast<int>(rows.integer(row, 1));
        if (in_flight.occupies(link.id, task.record, mailbox) ||
            !about_to_be.emplace(task.record, mailbox).second) {
            continue;
        }
        task.item = {rows.string(row, 2), rows.string(row, 3)};
        task.surplus = rows.boolean(row, 4);
        if (!task.surplus) {
            verdicts.lose_stamp(task.record, mailbox);
        }
        begun[task.record].push_back(mailbox);
        work.tasks.emplace_back(mailbox, std::move(task));
    }
    verdicts.write(link.id);
    work.begin_also(begun);
    return !begun.empty() && rows.size() == most_unlinks_at_once;
}

void finish_withdrawals(const LinkConfiguration& link, bool nothing_in_flight,
                        const std::function<bool(int mailbox)>& is_busy) {
    // What was under way there may have become a linked item since.
    pg::query(
        "UPDATE crmsync.repair p SET step = u.step FROM crmsync.mailbox m, "
        "LATERAL (SELECT CASE WHEN EXISTS (SELECT FROM crmsync.item i "
        "WHERE i.mailbox = m.id AND " +
            has_stamp_to_lose +
            ") THEN 'unlink' ELSE 'delete' END) "
            "AS u(step) WHERE m.id = p.mailbox AND m.link = $1 AND p.mode = 'withdraw' "
            "AND p.step IN ('unlink', 'delete') AND p.step <> u.step",
        link.id);
    const pg::Rows empty = pg::query(
        "SELECT p.mailbox FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
        "WHERE m.link = $1 AND p.mode = 'withdraw' AND p.step = 'delete' "
        "AND NOT EXISTS (SELECT FROM crmsync.item i WHERE i.link = $1 AND i.mailbox = p.mailbox "
        "AND i.state = 'leaving') "
        "AND NOT EXISTS (SELECT FROM crmsync.sighting s WHERE s.mailbox = p.mailbox)",
        link.id);
    pg::IntegerArray done;
    for (std::uint64_t row = 0; row < empty.size(); ++row) {
        const int mailbox = static_cast<int>(empty.integer(row, 0));
        if (!is_busy(mailbox)) {
            done.push_back(mailbox);
        }
    }
    if (!done.empty()) {
        pg::query("DELETE FROM crmsync.repair WHERE mailbox = ANY ($1)", &done);
    }
    if (link.retired && nothing_in_flight) {
        pg::query("SELECT crmsync.finish_drop($1)", link.id);
    }
}

}  // namespace crmsync
