#include "server/inbound/record_removal.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/crm/child_writer.h"
#include "server/crm/divided_writing.h"
#include "server/crm/row_remover.h"
#include "server/crm/row_writer.h"
#include "server/outbound/delete_guard.h"
#include "server/outbound/outcome_writer.h"
#include "server/outbound/record_facts.h"
#include "server/postgres/error_text.h"
#include "server/postgres/transaction.h"
#include "server/state/history.h"
#include "server/state/pending_records.h"

namespace crmsync {

namespace {

using sync::Outcome;

// The item of a record that its user has deleted.
struct DeletedItem {
    std::string record;
    int mailbox;
};

class Removal {
  public:
    Removal(const Configuration& configuration, const LinkConfiguration& link)
        : configuration_(configuration), link_(link) {}

    // Returns whether anything came of it.
    bool remove(const std::vector<LeavingItem>& items);

  private:
    void read_choices(const pg::TextArray& records);

    bool is_shared(const DeletedItem& item, const RecordFacts& record) const;
    bool is_deleted(const DeletedItem& item) const;
    void judge(const DeletedItem& item, const RecordFacts& record);
    void delete_records();
    void write_removed();
    void write_undecided() const;
    void write_conflicts() const;
    void look_again() const;

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    std::vector<std::pair<DeletedItem, RowToDelete>> to_delete_;
    std::vector<DeletedItem> removed_;
    std::vector<DeletedItem> shared_;
    std::vector<Outcome> history_;
    std::vector<Outcome> failed_;
    std::vector<DeletedItem> undecided_;
    std::set<std::string> chosen_;  // to be deleted whoever has it
};

struct DeletedItems {
    pg::TextArray records;
    pg::IntegerArray mailboxes;

    explicit DeletedItems(const std::vector<DeletedItem>& items) {
        for (const DeletedItem& item : items) {
            records.push_back(item.record);
            mailboxes.push_back(item.mailbox);
        }
    }
};

Outcome outcome_of(const DeletedItem& item, sync::Result result) {
    Outcome outcome{};
    outcome.mailbox = item.mailbox;
    outcome.result = result;
    outcome.action = sync::Action::fetch;
    outcome.record = item.record;
    return outcome;
}

Outcome failure_of(const DeletedItem& item, std::string code, std::string message) {
    Outcome outcome = outcome_of(item, sync::Result::failed);
    outcome.failure.code = std::move(code);
    outcome.failure.message = std::move(message);
    return outcome;
}

void Removal::read_choices(const pg::TextArray& records) {
    const pg::Rows rows = pg::query(
        "SELECT c.record FROM crmsync.conflict c JOIN crmsync.item i ON i.link = c.link "
        "AND i.record = c.record AND i.mailbox = c.mailbox AND i.remote_id = c.item "
        // Of an item that is there again it says nothing.
        "AND i.state = 'removed' WHERE c.link = $1 AND c.record = ANY ($2) "
        "AND c.kind = 'delete' AND c.choice = 'delete'",
        link_.id, &records);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        chosen_.insert(rows.string(row, 0));
    }
}

bool Removal::remove(const std::vector<LeavingItem>& items) {
    pg::TextArray records;
    for (const LeavingItem& item : items) {
        records.push_back(item.record);
    }
    read_choices(records);
    PendingRecords locked;
    // Its child rows go with it.
    for (std::string& record : lock_children(link_, lock_rows(link_, records))) {
        locked.try_emplace(std::move(record));
    }
    const Facts facts = read_facts(configuration_, link_, std::move(locked), NewMailboxes::stored);
    for (const LeavingItem& item : items) {
        const auto record = facts.records.find(item.record);
        if (record != facts.records.end()) {  // else it is gone, or somebody has it at the moment
            judge({item.record, item.mailbox}, record->second);
        }
    }
    delete_records();
    write_removed();
    write_undecided();
    write_conflicts();
    write_history(history_);
    look_again();
    return !(removed_.empty() && shared_.empty() && undecided_.empty() && failed_.empty());
}

// Where the audience does not say who has a record those have it who still have its item.
bool Removal::is_shared(const DeletedItem& item, const RecordFacts& record) const {
    return std::any_of(record.copies.begin(), record.copies.end(), [&](const auto& one) {
        const auto& [mailbox, copy] = one;
        const bool has_it =
            copy.item && !copy.item->absent && !copy.item->gone && !copy.item->unlinked;
        return mailbox->id != item.mailbox && copy.in_audience &&
               (has_it || !link_.audience_query.empty());
    });
}

bool Removal::is_deleted(const DeletedItem& item) const {
    return std::any_of(to_delete_.begin(), to_delete_.end(),
                       [&](const auto& one) { return one.first.record == item.record; });
}

void Removal::judge(const DeletedItem& item, const RecordFacts& record) {
    const auto copy = std::find_if(
        record.copies.begin(), record.copies.end(),
        [&](const auto& one) { return one.first->id == item.mailbox && one.second.item; });
    const bool wanted = record.exists && copy != record.copies.end() && copy->second.in_audience;
    if (!record.problem.empty()) {
        failed_.push_back(failure_of(item, record.code, record.problem));
    } else if (!wanted || is_deleted(item) ||
               sync::decide(
                   link_.rules,
                   {.exists = true, .in_audience = true, .values = &record.desired->values},
                   &*copy->second.item)
                       .verdict != sync::Verdict::nothing) {
        undecided_.push_back(item);
    } else if (!chosen_.contains(item.record) && is_shared(item, record)) {
        shared_.push_back(item);
    } else {
        to_delete_.push_back(
            {item, {item.record, copy->first->address, record.desired->values, record.texts}});
    }
}

void Removal::delete_records() {
    std::vector<RowToDelete> rows;
    for (const auto& [item, row] : to_delete_) {
        rows.push_back(row);
    }
    const auto errors = delete_rows(link_, rows);
    for (const auto& [item, row] : to_delete_) {
        const auto error = errors.find(item.record);
        if (error != errors.end() && error->second.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
            continue;  // in the next turn
        }
        if (error != errors.end()) {
            failed_.push_back(failure_of(item, error->second.code(), error_text(error->second)));
            continue;
        }
        removed_.push_back(item);
        Outcome done = outcome_of(item, sync::Result::removed);
        for (std::size_t place = 0; place < row.values.size(); ++place) {
            if (row.values[place]) {
                done.fields.push_back({link_.rules.layout[place], std::nullopt});
                done.before.push_back(row.values[place]);
            }
        }
        history_.push_back(std::move(done));
    }
    std::vector<const Outcome*> failed;
    for (const Outcome& outcome : failed_) {
        failed.push_back(&outcome);
        history_.push_back(outcome);
    }
    if (!failed.empty()) {
        write_failures(failed);
    }
}

// The guard counts what went by itself: somebody has looked at what was confirmed.
void Removal::write_removed() {
    const DeletedItems items(removed_);
    pg::query(
        "WITH removed AS (DELETE FROM crmsync.item i "
        "USING unnest($2::text[], $3::integer[]) AS u(record, mailbox) WHERE i.link = $1 "
        "AND i.record = u.record AND i.mailbox = u.mailbox "
        "RETURNING i.link, i.mailbox, i.confirmed) " +
            count_deletes("removed WHERE NOT confirmed"),
        link_.id, &items.records, &items.mailboxes);
}

// They are decided as any other that its user has deleted.
void Removal::write_undecided() const {
    const DeletedItems items(undecided_);
    pg::query(
        "UPDATE crmsync.item i SET state = 'absent', confirmed = false "
        "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
        "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox",
        link_.id, &items.records, &items.mailboxes);
}

// In that mailbox it stays away, whatever is decided.
void Removal::write_conflicts() const {
    const DeletedItems items(shared_);
    pg::query(
        "WITH shared AS (UPDATE crmsync.item i SET state = 'absent', confirmed = false "
        "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) WHERE i.link = $1 "
        "AND i.record = u.record AND i.mailbox = u.mailbox "
        "RETURNING i.record, i.mailbox, i.remote_id) "
        "INSERT INTO crmsync.conflict (link, mailbox, record, kind, item) "
        "SELECT $1, s.mailbox, s.record, 'delete', s.remote_id FROM shared s "
        "ON CONFLICT (mailbox, item, kind) WHERE item IS NOT NULL DO UPDATE "
        "SET record = excluded.record, choice = NULL, at = pg_catalog.now()",
        link_.id, &items.records, &items.mailboxes);
}

// What was deleted concerns other mailboxes, too, if only what was left there.
void Removal::look_again() const {
    pg::TextArray records;
    for (const std::vector<DeletedItem>* items : {&removed_, &shared_, &undecided_}) {
        for (const DeletedItem& item : *items) {
            records.push_back(item.record);
        }
    }
    make_pending(link_.id, records);
}

// Under another policy what was to be deleted stays.
bool keeps_records(const LinkConfiguration& link) {
    if (link.rules.policy.on_target_delete == sync::OnTargetDelete::remove) {
        return false;
    }
    pg::query(
        "WITH kept AS (UPDATE crmsync.item SET state = 'absent', confirmed = false "
        "WHERE link = $1 AND state = 'removed' RETURNING link, record) " +
            become_pending("kept"),
        link.id);
    return true;
}

}  // namespace

bool remove_records(const Configuration& configuration, const LinkConfiguration& link) {
    if (writes_rest(link)) {
        return false;
    }
    pg::Transaction transaction("deleting records for link " + link.name,
                                pg::Transaction::read_committed);
    if (pg::query("SELECT FROM crmsync.item WHERE link = $1 AND state = 'removed' LIMIT 1", link.id)
            .empty()) {
        return false;
    }
    const bool keeps = keeps_records(link);
    const std::vector<LeavingItem> items =
        keeps ? std::vector<LeavingItem>() : removable_records(link);
    const bool done = !items.empty() && Removal(configuration, link).remove(items);
    transaction.commit();
    return keeps || done;
}

}  // namespace crmsync
