// What differs between the entries of a complete search and the items: who is new or another than
// in the last run, and who is gone.
#include "server/import/directory_merge.h"
#include "server/import/planned_without.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"

namespace crmsync {

void DirectoryMerge::compare(const DirectorySurvey& survey) {
    {
        pg::Transaction transaction("comparing entries of link " + link_.name,
                                    pg::Transaction::read_committed);
        check_still_runs(link_);
        pg::query("ANALYZE pg_temp.crmsync_entry (key)", {}, {.once = true});
        const PlannedWithout planning(PlanStep::nested_loop);
        if (!survey.compared || survey.changed > 0) {
            find_changed();
        }
        if (link_.had_items && !(survey.compared && are_all_items(link_.mailbox, survey.seen))) {
            find_vanished();
        }
        planning.end();
        transaction.commit_lazily();
    }
    pg::Transaction transaction("matching entries of link " + link_.name,
                                pg::Transaction::read_committed);
    pg::query("ANALYZE pg_temp.crmsync_change", {}, {.once = true});
    adopt();
    refused_ = failures_.write_problems();
    hold_disabled();
    transaction.commit_lazily();
}

// Entries without a change key were unchanged when they were read. One whose item is gone since is
// the next run's: somebody has made the link forget it.
void DirectoryMerge::find_changed() {
    pg::query(
        "INSERT INTO pg_temp.crmsync_change (entry, key, record, old_key) "
        "SELECT e.ctid, e.key, i.record, CASE WHEN NOT $2 AND i.state IN ('linked', 'leaving') "
        "THEN i.change_key END "
        "FROM pg_temp.crmsync_entry e LEFT JOIN crmsync.item i "
        "ON i.mailbox = $1 AND i.remote_id = e.key WHERE e.change_key IS NOT NULL "
        "AND ($2 OR i.state IS DISTINCT FROM 'linked' "
        "OR i.change_key IS DISTINCT FROM e.change_key) ORDER BY e.ctid",
        link_.mailbox, link_.compares_everything);
    find_duplicates();
}

void DirectoryMerge::find_vanished() {
    vanished_ = static_cast<std::int64_t>(
        pg::query("INSERT INTO pg_temp.crmsync_change (key, record) "
                  "SELECT i.remote_id, i.record FROM crmsync.item i WHERE i.mailbox = $1 "
                  "AND i.state = 'linked' AND NOT EXISTS "
                  "(SELECT FROM pg_temp.crmsync_entry e WHERE e.key = i.remote_id)",
                  link_.mailbox)
            .size());
}

// Paging through a directory that changes may show an entry twice: what was read last counts.
void DirectoryMerge::find_duplicates() {
    pg::query(
        "DELETE FROM pg_temp.crmsync_change c USING (SELECT key, pg_catalog.max(entry) AS entry "
        "FROM pg_temp.crmsync_change WHERE entry IS NOT NULL GROUP BY key "
        "HAVING pg_catalog.count(*) > 1) d WHERE c.key = d.key AND c.entry <> d.entry",
        {}, {.once = true});
}

}  // namespace crmsync
