// The part of undo that writes to the CRM's rows.
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "record/value.h"
#include "server/crm/divided_writing.h"
#include "server/crm/row_writer.h"
#include "server/outbound/record_facts.h"
#include "server/outbound/undo.h"
#include "server/outbound/undo_step.h"
#include "server/postgres/error_text.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"
#include "server/state/history.h"

namespace crmsync {

namespace {

using sync::Outcome;
using sync::Result;

constexpr int most_rows = 500;

class RowUndoer {
  public:
    RowUndoer(const Configuration& configuration, const LinkConfiguration& link)
        : configuration_(configuration), link_(link) {}

    bool run();

  private:
    void judge_row(const pg::Rows& rows, std::uint64_t row_number, const Facts& facts);
    void write();

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    struct Change {
        Outcome outcome;
        RowChange row;
    };
    std::vector<Change> changes_;
    UndoneRows done_;
    std::vector<Outcome> history_;
};

bool RowUndoer::run() {
    // One row of each record at a time: what different mailboxes brought in follows.
    const pg::Rows rows = pg::query(
        "SELECT DISTINCT ON (u.record) u.mailbox, u.record, u.old, u.new, m.address "
        "FROM crmsync.undoing u JOIN crmsync.mailbox m ON m.id = u.mailbox "
        "WHERE u.link = $1 AND u.step = 'row' ORDER BY u.record, u.mailbox LIMIT $2",
        link_.id, most_rows);
    if (rows.empty()) {
        return false;
    }
    pg::TextArray records;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        records.push_back(rows.string(row, 1));
    }
    const pg::TextArray locked = lock_rows(link_, records);
    PendingRecords all;
    for (const std::string& record : records) {
        all.try_emplace(record);
    }
    const Facts facts = read_facts(configuration_, link_, std::move(all), NewMailboxes::stored);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const RecordFacts& record = facts.records.at(rows.string(row, 1));
        const bool taken =
            std::find(locked.begin(), locked.end(), rows.string(row, 1)) != locked.end();
        if (taken || !record.exists) {  // else somebody has it for the moment
            judge_row(rows, row, facts);
        }
    }
    write();
    done_.remove();
    write_history(history_);
    return !done_.empty();
}

void RowUndoer::judge_row(const pg::Rows& rows, std::uint64_t row_number, const Facts& facts) {
    const int mailbox = static_cast<int>(rows.integer(row_number, 0));
    const std::string key = rows.string(row_number, 1);
    const RecordFacts& record = facts.records.at(key);
    const bool cannot_be_read = !record.problem.empty();
    if (cannot_be_read || !record.exists) {
        history_.push_back(left_alone(
            mailbox, key, sync::Action::fetch, cannot_be_read ? record.code.c_str() : "GONE",
            cannot_be_read ? record.problem : "there is no such record any more"));
        done_.add("row", mailbox, key);
        return;
    }
    const record::Layout& layout = link_.rules.layout;
    const record::Values& now = record.desired->values;
    Judged judged = judge(layout, now, read_values(rows.jsonb(row_number, 2), layout),
                          read_values(rows.jsonb(row_number, 3), layout));
    if (!judged.left.empty()) {
        history_.push_back(changed_since(mailbox, key, sync::Action::fetch, judged.left));
    }
    if (!judged.lost.empty()) {
        history_.push_back(not_kept(mailbox, key, sync::Action::fetch, judged.lost));
    }
    Outcome change{};
    change.mailbox = mailbox;
    change.result = Result::fetched;
    change.action = sync::Action::fetch;
    change.record = key;
    change.undo = sync::UndoStep::item;
    for (std::size_t i = 0; i < layout.size(); ++i) {
        if (!record::same_value(*layout[i], judged.restored[i], now[i]) &&
            !link_.fields_in[i].column.empty()) {
            change.fields.push_back({layout[i], judged.restored[i]});
            change.before.push_back(now[i]);
        }
    }
    if (change.fields.empty()) {
        done_.add("row", mailbox, key);
        return;
    }
    RowChange row{key, change.fields, {}, rows.string(row_number, 4), now};
    row.texts = record.texts;
    row.restores = true;
    changes_.push_back({std::move(change), std::move(row)});
}

void RowUndoer::write() {
    std::vector<RowChange> rows;
    for (const Change& change : changes_) {
        rows.push_back(change.row);
    }
    const std::map<std::string, pg::Error> errors = write_rows(link_, rows);
    for (Change& change : changes_) {
        const auto error = errors.find(change.row.record);
        if (error != errors.end() && error->second.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
            continue;  // somebody has what it takes for the moment
        }
        done_.add("row", change.outcome.mailbox, change.row.record);
        if (error != errors.end()) {
            const std::string code = error->second.code();
            history_.push_back(left_alone(change.outcome.mailbox, change.row.record,
                                          sync::Action::fetch, code.c_str(),
                                          error_text(error->second)));
        } else {
            history_.push_back(std::move(change.outcome));
        }
    }
}

}  // namespace

bool undo_rows(const Configuration& configuration, const LinkConfiguration& link) {
    if (!link.inbound || writes_rest(link)) {
        return false;
    }
    pg::Transaction transaction("undoing for link " + link.name, pg::Transaction::read_committed);
    const bool more = RowUndoer(configuration, link).run();
    transaction.commit();
    return more;
}

}  // namespace crmsync
