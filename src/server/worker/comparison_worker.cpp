// Compares a whole link, set-based and without the network: who should have what, and who has it.
// Whatever may differ becomes pending; the resident worker decides it record by record, by what is
// true then, so it does not matter what changes while a comparison is under way.
//
// A comparison has a process of its own, since the queries of the link's owner may take minutes:
//
//   transaction    what is asked for
//   transaction    what the audience says, read as the owner, and the records to look at go into
//                  temporary tables
//   transactions   slices of them become pending, which the resident worker begins with at once
//   transaction    the comparison is done, unless another was asked for meanwhile
#include <algorithm>
#include <string>

#include "server/configuration/configuration.h"
#include "server/configuration/record_key.h"
#include "server/postgres/log.h"
#include "server/postgres/preload.h"
#include "server/postgres/query.h"
#include "server/postgres/rewritten_relation.h"
#include "server/postgres/run_schedule.h"
#include "server/postgres/session.h"
#include "server/postgres/table.h"
#include "server/postgres/transaction.h"
#include "server/worker/comparison_tables.h"
#include "server/worker/survey.h"

namespace crmsync {

namespace {

constexpr std::int32_t comparison_lock = 0x63726d63;

// Of records that become pending together: some 200 a block. A small first slice lets the resident
// worker begin.
constexpr std::int64_t first_blocks = 2;
constexpr std::int64_t most_blocks = 100;

// Items that nobody should have; those in a mailbox that does not take part stay untouched.
std::string unwanted(const LinkConfiguration& link) {
    return "SELECT i.record FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox "
           "WHERE i.link = $1 AND i.state = 'linked' "
           "AND NOT EXISTS (SELECT FROM pg_temp.crmsync_audience a "
           "WHERE a.record = i.record AND a.mailbox = m.address)" +
           std::string(link.mailboxes_query.empty()
                           ? ""
                           : " AND EXISTS (SELECT FROM pg_temp.crmsync_mailboxes p "
                             "WHERE p.mailbox = m.address AND p.takes_part)");
}

const std::string missing =
    "SELECT a.record FROM pg_temp.crmsync_audience a "
    "LEFT JOIN crmsync.mailbox m ON m.link = $1 AND m.address = a.mailbox "
    "LEFT JOIN crmsync.item i ON i.link = $1 AND i.record = a.record AND i.mailbox = m.id "
    "WHERE i.record IS NULL OR i.state IN ('leaving', 'unlinked')";

const std::string returned =
    "SELECT i.record FROM pg_temp.crmsync_returned r "
    "JOIN crmsync.item i ON i.link = $1 AND i.mailbox = r.id";

const std::string every =
    "SELECT record FROM pg_temp.crmsync_records WHERE rows_with_mailbox > 0 "
    "AND pg_catalog.octet_length(record) <= " +
    std::to_string(longest_kept_key) + " UNION ALL SELECT record FROM crmsync.item WHERE link = $1";

bool looks_at_every_record(const LinkConfiguration& link, const std::string& kind) {
    return kind == "everything" || link.audience_query.empty();
}

// That the mailbox they wait for takes no part any more, or they belong there no more, is noticed
// when they are looked at.
const std::string waiting = "SELECT record FROM crmsync.waiting WHERE link = $1";

// Of the mailboxes kind the audience has only rows of those that have returned.
std::string to_look_at(const LinkConfiguration& link, const std::string& kind) {
    if (looks_at_every_record(link, kind)) {
        // Nothing comes of what was left to its user and is not wanted again.
        return every +
               (link.audience_query.empty() ? "" : " AND (state <> 'unlinked' OR stamped)") +
               " UNION ALL " + waiting;
    }
    std::string records = missing + " UNION ALL " + waiting;
    if (kind == "audience") {
        records += " UNION ALL " + unwanted(link);
    }
    if (!link.mailboxes_query.empty()) {
        records += " UNION ALL " + returned;
    }
    return records;
}

// In one order everywhere, so that nobody who makes records pending meets another in a deadlock.
void name_records(const LinkConfiguration& link, const std::string& kind) {
    once("CREATE TEMPORARY TABLE crmsync_named (record text COLLATE \"C\")", link.id);
    once("INSERT INTO pg_temp.crmsync_named SELECT DISTINCT record FROM (" +
             to_look_at(link, kind) +
             " UNION ALL SELECT record FROM pg_temp.crmsync_unreadable) AS named ORDER BY record",
         link.id);
}

class Comparison {
  public:
    explicit Comparison(int link) : id_(link), name_(std::to_string(link)) {}

    void run() {
        try {
            if (begin()) {
                make_pending();
                finish();
            }
        } catch (const pg::Error& error) {
            pg::check_interrupts();
            fail(error);
        }
    }

  private:
    // What is asked for; empty: nothing, or one that another worker has started is still under way.
    // From here on whoever meets a mailbox that takes no part says so anew, and what is read
    // afterwards of who takes part does not overrule him: he may have left something undone there.
    std::string take_turn() {
        preload().set_progress(id_, "comparing", 0, 0);
        pg::Transaction transaction("comparing link " + name_, pg::Transaction::read_committed);
        if (!take_run_lock(comparison_lock)) {
            return {};
        }
        const pg::Rows due = pg::query(
            "SELECT coalesce(comparison, ''), comparison_asked FROM crmsync.link_state "
            "WHERE link = $1",
            id_);
        // Without a row the database was restored: nothing is known for sure.
        std::string kind = due.empty() ? "everything" : due.string(0, 0);
        asked_ = due.empty() ? -1 : due.integer(0, 1);
        if (!kind.empty()) {
            pg::query(
                "UPDATE crmsync.mailbox SET took_part = nullif(took_part, false), "
                "opted_out = false WHERE id IN (SELECT m.id FROM crmsync.mailbox m "
                "WHERE m.link = $1 AND (m.took_part IS FALSE OR m.opted_out) "
                "ORDER BY m.id FOR NO KEY UPDATE)",
                id_);
        }
        transaction.commit_lazily();
        return kind;
    }

    bool begin() {
        const std::string kind = take_turn();
        if (kind.empty()) {
            return false;
        }
        pg::Transaction transaction("comparing link " + name_);
        const Configuration configuration = read_configuration();
        const auto link = configuration.links.find(id_);
        if (link == configuration.links.end() || !link->second.enabled ||
            !link->second.problem.empty()) {
            return false;
        }
        name_ = link->second.name;
        // Only numbers of rows and of different values matter for the plans here.
        once("SET LOCAL default_statistics_target = 10", id_);
        read_mailboxes(link->second);
        if (looks_at_every_record(link->second, kind)) {
            left_out_ = read_records(link->second);
        } else if (kind == "mailboxes") {
            read_returned_audience(link->second);
        } else {
            left_out_ = read_audience(link->second);
        }
        whole_audience_ = kind != "mailboxes";
        reads_mailboxes_ = !link->second.mailboxes_query.empty();
        name_records(link->second, kind);
        if (pg::has_read_rewritten_relation()) {
            return false;  // it stays due
        }
        blocks_ = pg::blocks_of("pg_temp.crmsync_named");
        transaction.commit();
        return true;
    }

    void make_pending() {
        std::int64_t count = first_blocks;
        for (std::int64_t block = 0; block < blocks_;
             block += count, count = std::min(2 * count, most_blocks)) {
            pg::check_interrupts();
            pg::Transaction transaction("comparing link " + name_, pg::Transaction::read_committed);
            pg::query(
                "INSERT INTO crmsync.pending AS p (link, tier, record) "
                "SELECT $1::integer, 1, record FROM pg_temp.crmsync_named "
                "WHERE ctid >= ('(' || $2::bigint || ',0)')::tid "
                "AND ctid < ('(' || $3::bigint || ',0)')::tid "
                "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
                id_, block, block + count);
            transaction.commit_lazily();
            preload().wake_worker();
        }
    }

    void finish() {
        pg::Transaction transaction("comparing link " + name_, pg::Transaction::read_committed);
        if (reads_mailboxes_) {
            note_participants();
        }
        if (whole_audience_) {
            pg::query(
                "INSERT INTO crmsync.link_state AS s (link, compared, without_mailbox, long_keys) "
                "VALUES ($1, pg_catalog.now(), $2, $3) "
                "ON CONFLICT (link) DO UPDATE SET compared = excluded.compared, "
                "without_mailbox = excluded.without_mailbox, long_keys = excluded.long_keys",
                id_, left_out_.without_mailbox, left_out_.long_keys);
        }
        pg::query(
            "UPDATE crmsync.link_state SET comparison = NULL "
            "WHERE link = $1 AND comparison_asked = $2",
            id_, asked_);
        note_comparison_works(id_);
        transaction.commit();
        preload().wake_worker();
    }

    // Of a mailbox that became known meanwhile nobody knows whether something was left undone there
    // before that, unless nothing has been asked for since.
    void note_participants() const {
        pg::query(
            "UPDATE crmsync.mailbox SET took_part = u.takes_part FROM (SELECT m.id, p.takes_part "
            "FROM crmsync.mailbox m CROSS JOIN LATERAL (SELECT EXISTS ("
            "SELECT FROM pg_temp.crmsync_mailboxes x WHERE x.mailbox = m.address AND "
            "x.takes_part)) "
            "AS p(takes_part) WHERE m.link = $1 AND CASE WHEN p.takes_part "
            "THEN m.took_part IS NULL "
            "AND (EXISTS (SELECT FROM pg_temp.crmsync_returned r WHERE r.id = m.id) "
            "OR EXISTS (SELECT FROM crmsync.link_state s WHERE s.link = $1 "
            "AND s.comparison_asked = $2)) ELSE m.took_part IS NOT FALSE END "
            "ORDER BY m.id FOR NO KEY UPDATE OF m) AS u WHERE crmsync.mailbox.id = u.id",
            id_, asked_);
    }

    void fail(const pg::Error& error) {
        if (note_comparison_error(id_, error)) {
            pg::log(LOG, "link \"" + name_ + "\" cannot be compared: " + error.message);
        }
    }

    int id_;
    std::string name_;
    std::int64_t asked_ = -1;
    std::int64_t blocks_ = 0;
    LeftOut left_out_;
    bool whole_audience_ = true;
    bool reads_mailboxes_ = false;
};

void run_comparison() {
    configure_session("60s");
    pg::allow_long_queries();
    try {
        Comparison(run_link()).run();
    } catch (const pg::ExtensionBusy&) {
        // It is being dropped or updated: what is asked for stays asked for.
        note_version();
    }
}

}  // namespace

}  // namespace crmsync

extern "C" PGDLLEXPORT void crmsync_comparison_main(Datum database);

void crmsync_comparison_main(Datum database) {
    crmsync::connect_run(database);
    crmsync::pg::enter(crmsync::run_comparison);
}
