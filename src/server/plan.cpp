// The SQL function crmsync.plan: what the worker would do, found by the very code that decides for
// it, which notes nothing here. Works on disabled links too.
#include <algorithm>
#include <iterator>
#include <map>

#include "server/outbound/delete_guard.h"
#include "server/outbound/link_work.h"
#include "server/postgres/query.h"
#include "server/postgres/result_set.h"

namespace {

using namespace crmsync;

constexpr std::size_t records_at_once = 500;

const LinkConfiguration& find_link(const Configuration& configuration, const std::string& name) {
    for (const auto& [id, link] : configuration.links) {
        if (link.name == name) {
            if (!link.problem.empty()) {
                throw pg::UserError(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                                    "link \"" + name + "\" cannot work: " + link.problem);
            }
            if (configuration.targets.at(link.target).kind == "ldap") {
                throw pg::UserError(ERRCODE_FEATURE_NOT_SUPPORTED,
                                    "plan of an LDAP link is not supported yet");
            }
            return link;
        }
    }
    throw pg::UserError(ERRCODE_UNDEFINED_OBJECT, "link \"" + name + "\" does not exist");
}

// Every record that somebody should have or has.
pg::TextArray all_records(const LinkConfiguration& link) {
    pg::TextArray records;
    if (!link.audience_all_query.empty()) {
        const pg::Rows wanted =
            pg::query_as(link.owner, "SELECT DISTINCT a.record FROM (" + link.audience_all_query +
                                         ") AS a (record, mailbox)");
        for (std::uint64_t row = 0; row < wanted.size(); ++row) {
            records.push_back(wanted.string(row, 0));
        }
    }
    const pg::Rows rest =
        pg::query("SELECT DISTINCT record FROM crmsync.item WHERE link = $1 AND record <> ALL ($2)",
                  link.id, &records);
    for (std::uint64_t row = 0; row < rest.size(); ++row) {
        records.push_back(rest.string(row, 0));
    }
    return records;
}

// Since when changes have not been looked for only the worker knows.
std::string when_it_goes_out(const LinkConfiguration& link) {
    return link.outbound_interval
               ? "goes out within " + std::to_string(link.outbound_interval->count()) +
                     " s (outbound_interval), at once with crmsync.sync"
               : "goes out at once";
}

class PlanRows {
  public:
    PlanRows(pg::ResultSet& rows, std::optional<std::string> mailbox)
        : rows_(rows), only_(std::move(mailbox)) {}

    void add(Outlook outlook) {
        // Mailboxes that are not known yet have an id for this call only.
        for (auto& [id, address] : outlook.addresses) {
            addresses_.insert_or_assign(id, std::move(address));
        }
        for (const auto& [mailbox, task] : outlook.work.tasks) {
            add_task(mailbox, task);
        }
        for (const sync::Outcome& outcome : outlook.work.outcomes) {
            add_row(outcome.mailbox, outcome.record,
                    outcome.result == sync::Result::postponed ? "wait" : "none", {}, {}, {},
                    outcome.failure.code + ": " + outcome.failure.message);
        }
        std::move(outlook.leaving.begin(), outlook.leaving.end(), std::back_inserter(deletes_));
    }

    // What is taken out of mailboxes whatever its record does.
    void add_withdrawals(const LinkConfiguration& link) {
        const pg::Rows rows = pg::query(
            "SELECT i.record, i.mailbox, m.address, i.origin = 'crm', i.confirmed, "
            "'it is withdrawn' FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
            "JOIN crmsync.item i ON i.mailbox = p.mailbox AND i.state IN ('linked', 'leaving') "
            "WHERE m.link = $1 AND p.mode = 'withdraw' "
            "UNION ALL SELECT s.record, s.mailbox, m.address, s.kind = 'surplus', s.confirmed, "
            "'it is a copy of the item' FROM crmsync.sighting s "
            "JOIN crmsync.mailbox m ON m.id = s.mailbox "
            "WHERE m.link = $1 AND s.kind IN ('surplus', 'stray')",
            link.id);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            const int mailbox = static_cast<int>(rows.integer(row, 1));
            addresses_.insert_or_assign(mailbox, rows.string(row, 2));
            if (rows.boolean(row, 3)) {
                deletes_.push_back(
                    {rows.string(row, 0), mailbox, rows.string(row, 5), rows.boolean(row, 4), {}});
            } else {
                add_row(mailbox, rows.string(row, 0), "unlink", {}, {}, {},
                        rows.string(row, 5) + "; a user has made it his own");
            }
        }
    }

    // What users have changed and has not come in: their mailboxes are not asked what it is.
    void add_arrivals(const LinkConfiguration& link) {
        const pg::Rows rows = pg::query(
            "SELECT a.mailbox, m.address, coalesce(i.record, ''), coalesce(a.code || ': ' || "
            "a.message, 'somebody has changed the item in the mailbox') FROM crmsync.arrival a "
            "JOIN crmsync.mailbox m ON m.id = a.mailbox LEFT JOIN crmsync.item i "
            "ON i.mailbox = a.mailbox AND i.remote_id = a.remote_id "
            "AND pg_catalog.hashtext(i.remote_id) = pg_catalog.hashtext(a.remote_id) "
            "WHERE m.link = $1",
            link.id);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            const int mailbox = static_cast<int>(rows.integer(row, 0));
            addresses_.insert_or_assign(mailbox, rows.string(row, 1));
            add_row(mailbox, rows.string(row, 2), "bring in", {}, {}, {}, rows.string(row, 3));
        }
    }

    // Only when all records have been looked at is the number of deletes known.
    void add_deletes(const LinkConfiguration& link) {
        DeleteCounts counts;
        for (const Outlook::Leaving& item : deletes_) {
            DeleteCount& count = counts[item.mailbox];
            ++(item.confirmed ? count.confirmed : count.unconfirmed);
        }
        if (counts.empty()) {
            return;
        }
        add_recent_deletes(link.id, counts);
        const GuardVerdict guard = judge(link, counts);
        const std::string unheld = when_it_goes_out(link);
        for (const Outlook::Leaving& item : deletes_) {
            const std::string when = guard.holds(item.mailbox, item.confirmed)
                                         ? "held by the guard: waits for crmsync.confirm_deletes"
                                     : item.waits_for.empty() ? unheld
                                                              : "waits: " + item.waits_for;
            add_row(item.mailbox, item.record, item.in_crm ? "delete record" : "delete", {}, {}, {},
                    item.reason + "; " + when);
        }
    }

  private:
    void add_task(int mailbox, const sync::Task& task) {
        if (task.action == sync::Action::unlink) {
            add_row(mailbox, task.record, "unlink", {}, {}, {},
                    "the record has left; its policy keeps the item");
            return;
        }
        const bool creates = task.action == sync::Action::create;
        const record::Fields& fields =
            creates ? static_cast<const record::Fields&>(task.desired->all) : task.fields;
        if (fields.empty() && task.was_left) {
            add_row(mailbox, task.record, "update", {}, {}, {},
                    "the record is back; its item was left to its user");
        }
        for (std::size_t i = 0; i < fields.size(); ++i) {
            const record::Value before = i < task.before.size() ? task.before[i] : record::Value();
            add_row(mailbox, task.record, creates ? "create" : "update",
                    std::string(fields[i].property->name), before, fields[i].value,
                    creates ? "the record belongs into this mailbox and is not there"
                            : "the CRM's value differs from the shadow");
        }
    }

    void add_row(int mailbox, const std::string& record, const std::string& action,
                 const std::string& property, const record::Value& before,
                 const record::Value& after, const std::string& reason) {
        const std::string& address = addresses_[mailbox];
        if (only_ && *only_ != address) {
            return;
        }
        const auto value = [](const record::Value& text) {
            return text ? pg::ResultValue(*text) : pg::ResultValue();
        };
        rows_.add({address, pg::text_or_null(record), action, pg::text_or_null(property),
                   value(before), value(after), reason});
    }

    pg::ResultSet& rows_;
    std::optional<std::string> only_;
    std::map<int, std::string> addresses_;
    std::vector<Outlook::Leaving> deletes_;
};

// As the audience and crmsync.mailboxes have it. Throws when there is no such mailbox.
std::optional<std::string> mailbox_argument(const LinkConfiguration& link, FunctionCallInfo call) {
    const auto given = pg::optional_text_argument(call, 1);
    if (!given) {
        return std::nullopt;
    }
    return pg::query("SELECT crmsync.check_address(l, $2) FROM crmsync.link l WHERE l.id = $1",
                     link.id, std::string_view(*given))
        .string(0, 0);
}

Datum plan(FunctionCallInfo call) {
    pg::ResultSet result(call);
    if (call->args[0].isnull) {
        return Datum(0);
    }
    const std::string name = pg::text_argument(call, 0);
    pg::query("SELECT crmsync.find_link($1, 'operator')", std::string_view(name));
    const Configuration configuration = read_configuration(name);
    const LinkConfiguration& link = find_link(configuration, name);
    PlanRows rows(result, mailbox_argument(link, call));
    const pg::TextArray records = all_records(link);
    for (std::size_t from = 0; from < records.size(); from += records_at_once) {
        pg::check_interrupts();
        const auto first = records.begin() + static_cast<std::ptrdiff_t>(from);
        const auto last = records.begin() + static_cast<std::ptrdiff_t>(
                                                std::min(from + records_at_once, records.size()));
        rows.add(look_ahead(configuration, link, {first, last}));
    }
    rows.add_arrivals(link);
    rows.add_withdrawals(link);
    rows.add_deletes(link);
    return Datum(0);
}

}  // namespace

CRMSYNC_SQL_FUNCTION(crmsync_plan, plan);
