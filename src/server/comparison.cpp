#include "server/comparison.h"

#include <string>

extern "C" {
#include "miscadmin.h"
}

namespace crmsync {

namespace {

// The owner's queries must not see our tables, nor ours run as the owner: temporary tables stand
// between them.
void materialise(const LinkConfiguration& link, const char* table, const char* columns,
                 const std::string& query) {
    const std::string name(table);
    pg::query("CREATE TEMPORARY TABLE " + name + " (" + columns + ") ON COMMIT DROP", {},
              {.once = true});
    pg::query("GRANT INSERT ON " + name + " TO " + role_name(link.owner), {}, {.once = true});
    pg::query("INSERT INTO pg_temp." + name + " " + query, {}, {.owner = link.owner, .once = true});
    pg::query("ANALYZE pg_temp." + name, {}, {.once = true});
}

void read_audience(const LinkConfiguration& link) {
    materialise(link, "crmsync_audience", "record text COLLATE \"C\", mailbox text COLLATE \"C\"",
                link.audience_all_query);
    if (!link.mailboxes_query.empty()) {
        materialise(link, "crmsync_mailboxes", "mailbox text COLLATE \"C\", enabled boolean",
                    link.mailboxes_query);
    }
}

// Items in a mailbox that does not take part stay untouched.
std::string takes_part(const LinkConfiguration& link) {
    return link.mailboxes_query.empty() ? std::string("true")
                                        : std::string(
                                              "EXISTS (SELECT FROM pg_temp.crmsync_mailboxes p "
                                              "WHERE p.mailbox = m.address AND p.enabled)");
}

const std::string items_nobody_should_have =
    "SELECT i.record, i.mailbox FROM crmsync.item i "
    "JOIN crmsync.mailbox m ON m.id = i.mailbox "
    "WHERE i.link = $1 AND i.state = 'linked' "
    "AND NOT EXISTS (SELECT FROM pg_temp.crmsync_audience a "
    "WHERE a.record = i.record AND a.mailbox = m.address) AND ";

// One statement marks all of them, so that the guard counts them together before the first goes.
void mark_leaving(const LinkConfiguration& link) {
    const std::string unwanted = items_nobody_should_have + takes_part(link);
    const bool always_deleted = link.rules.policy.on_crm_delete == sync::OnCrmDelete::remove &&
                                link.rules.policy.on_audience_loss == sync::OnAudienceLoss::remove;
    if (always_deleted) {
        pg::query(
            "UPDATE crmsync.item t SET state = 'leaving', confirmed = false, "
            "since = pg_catalog.now() FROM (" +
                unwanted +
                ") AS u "
                "WHERE t.link = $1 AND t.record = u.record AND t.mailbox = u.mailbox "
                "AND t.origin = 'crm'",
            std::span<const pg::Parameter>({pg::Parameter(link.id)}), {.once = true});
    }
    // What is left of them is unlinked rather than deleted, one by one.
    pg::query(
        "INSERT INTO crmsync.pending AS p (link, tier, record) "
        "SELECT DISTINCT $1::integer, 1, u.record FROM (" +
            unwanted +
            ") AS u "
            "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        std::span<const pg::Parameter>({pg::Parameter(link.id)}), {.once = true});
}

void mark_missing(const LinkConfiguration& link) {
    pg::query(
        "INSERT INTO crmsync.pending AS p (link, tier, record) "
        "SELECT DISTINCT $1::integer, 1, a.record FROM pg_temp.crmsync_audience a "
        "LEFT JOIN crmsync.mailbox m ON m.link = $1 AND m.address = a.mailbox "
        "LEFT JOIN crmsync.item i "
        "ON i.link = $1 AND i.record = a.record AND i.mailbox = m.id "
        "WHERE i.record IS NULL OR i.state = 'leaving' "
        "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        std::span<const pg::Parameter>({pg::Parameter(link.id)}), {.once = true});
}

void mark_everything(const LinkConfiguration& link) {
    pg::query(
        "INSERT INTO crmsync.pending AS p (link, tier, record) "
        "SELECT $1::integer, 1, record FROM (SELECT record FROM pg_temp.crmsync_audience "
        "UNION SELECT record FROM crmsync.item WHERE link = $1) AS every "
        "ON CONFLICT (link, tier, record) DO UPDATE SET version = p.version + 1",
        std::span<const pg::Parameter>({pg::Parameter(link.id)}), {.once = true});
}

}  // namespace

bool compare_if_due(const LinkConfiguration& link) {
    const pg::Rows due =
        pg::query("SELECT comparison FROM crmsync.link_state WHERE link = $1", link.id);
    // Without a row the database was restored: nothing is known for sure.
    const std::string kind = due.empty() ? "everything" : due.string(0, 0);
    if (kind.empty()) {
        return false;
    }
    read_audience(link);
    mark_leaving(link);
    if (kind == "everything") {
        mark_everything(link);
    } else {
        mark_missing(link);
    }
    pg::query(
        "INSERT INTO crmsync.link_state AS s (link, compared) "
        "VALUES ($1, pg_catalog.now()) "
        "ON CONFLICT (link) DO UPDATE SET comparison = NULL, compared = pg_catalog.now()",
        link.id);
    return true;
}

}  // namespace crmsync
