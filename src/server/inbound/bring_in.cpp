#include "server/inbound/bring_in.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "server/crm/modified_rows.h"
#include "server/crm/row_writer.h"
#include "server/inbound/gone_items.h"
#include "server/inbound/item_merge.h"
#include "server/inbound/merged_item_writer.h"
#include "server/inbound/new_items.h"
#include "server/inbound/stamped_items.h"
#include "server/outbound/record_facts.h"
#include "server/postgres/error_text.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"
#include "server/state/arrivals.h"
#include "server/state/conflicts.h"
#include "server/state/history.h"
#include "server/state/loops.h"
#include "server/state/pending_records.h"
#include "sync/stamp.h"

namespace crmsync {

namespace {

using sync::Outcome;
using sync::Result;

class Incoming {
  public:
    Incoming(const Configuration& configuration, const LinkConfiguration& link)
        : configuration_(configuration), link_(link) {}

    void take(const std::vector<Outcome>& outcomes);

    // See bring_in.
    std::set<ItemName> waiting() const;

    // Some are known from now on, and get our stamp.
    bool has_new() const { return has_new_; }

  private:
    void find_records(std::vector<const Outcome*> fetched);
    void find_moved(const std::vector<const Outcome*>& unknown);
    void take_new(const std::vector<const Outcome*>& unknown);
    void merge_all();
    bool crm_is_newer(const Outcome& outcome, const std::string& key) const;
    bool merge(const Outcome& outcome, const std::string& key, const RecordFacts& record);
    void merge(const Outcome& outcome, const std::string& key, const RecordFacts& record,
               const sync::KnownItem& item);
    void name_mailboxes();
    void write_rows();
    void write_items();
    void write_conflicts();

    // One that is to be a record's stays it: nothing else is made of that record there.
    void fail(const Outcome& outcome, std::string code, std::string message) {
        ArrivalFailure failure{name_of(outcome), std::move(code), std::move(message)};
        if (const auto adopted = adopted_.find(&outcome); adopted != adopted_.end()) {
            failure.records = {adopted->second};
            failure.created = made_at(outcome);
        }
        failures_.push_back(std::move(failure));
    }

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    std::map<std::string, const Outcome*> by_record_;
    std::map<const Outcome*, std::string> adopted_;  // their records
    std::set<const Outcome*> moved_;                 // known by nothing but their stamps
    std::map<std::string, std::chrono::sys_seconds> modified_;
    std::vector<MergedItem> merged_;
    pg::TextArray pending_;  // records that differ from what their items hold
    std::vector<ItemName> settled_;
    std::vector<ItemName> postponed_;
    std::vector<ItemName> outdated_;  // are fetched again
    std::vector<ItemName> unwanted_;  // of items that are about to go
    std::vector<ArrivalFailure> failures_;
    std::vector<WaitingArrival> waiting_;
    std::vector<Outcome> history_;
    Conflicts conflicts_;
    bool has_new_ = false;
};

void Incoming::take(const std::vector<Outcome>& outcomes) {
    std::vector<const Outcome*> fetched;
    std::vector<const Outcome*> gone;
    const std::set<const Outcome*> outdated = noticed_since(outcomes);
    for (const Outcome& outcome : outcomes) {
        if (outdated.contains(&outcome)) {
            outdated_.push_back(name_of(outcome));
        } else if (outcome.result == Result::removed) {
            gone.push_back(&outcome);
        } else if (outcome.result == Result::failed) {
            fail(outcome, outcome.failure.code, outcome.failure.message);
            failures_.back().unread = true;
        } else if ((outcome.result == Result::fetched || outcome.result == Result::overtaken) &&
                   outcome.rules == link_.kept_rules) {
            // What was read for another mapping says too little: it is fetched again.
            fetched.push_back(&outcome);
        }
    }
    GoneItems left = note_gone(link_, gone);
    std::move(left.settled.begin(), left.settled.end(), std::back_inserter(settled_));
    std::move(left.records.begin(), left.records.end(), std::back_inserter(pending_));
    std::move(left.history.begin(), left.history.end(), std::back_inserter(history_));
    find_records(fetched);
    merge_all();
    write_rows();
    write_items();
    write_conflicts();
    write_history(history_);
    note_came_in(history_);
    postpone_arrivals(postponed_);
    write_arrival_failures(link_, failures_);
    write_waiting(waiting_);
    settle_arrivals(settled_);  // after what may have failed because of them
    make_pending(link_.id, pending_);
}

std::set<ItemName> Incoming::waiting() const {
    std::set<ItemName> items(postponed_.begin(), postponed_.end());
    items.insert(outdated_.begin(), outdated_.end());
    items.insert(unwanted_.begin(), unwanted_.end());
    for (const ArrivalFailure& failure : failures_) {
        items.insert(failure.item);
    }
    return items;
}

// Which record an item is of: we know it by its id, or by the stamp that it bears.
void Incoming::find_records(std::vector<const Outcome*> fetched) {
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    for (const Outcome* outcome : fetched) {
        mailboxes.push_back(outcome->mailbox);
        ids.push_back(outcome->item.id);
    }
    const pg::Rows rows = pg::query(
        "SELECT u.place, i.record, i.state FROM unnest($1::integer[], $2::text[]) "
        "WITH ORDINALITY AS u(mailbox, id, place) JOIN crmsync.item i "
        "ON i.mailbox = u.mailbox AND i.remote_id = u.id "
        "AND pg_catalog.hashtext(i.remote_id) = pg_catalog.hashtext(u.id) AND i.link = $3",
        &mailboxes, &ids, link_.id);
    std::set<const Outcome*> known;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const Outcome* outcome = fetched[static_cast<std::size_t>(rows.integer(row, 0)) - 1];
        known.insert(outcome);
        // What was left to its user is met by a write only when the CRM wants it back.
        const bool wanted = rows.text(row, 2) == "linked" || (rows.text(row, 2) == "unlinked" &&
                                                              outcome->result == Result::overtaken);
        if (!wanted || !link_.inbound) {
            settled_.push_back(name_of(*outcome));
            if (rows.text(row, 2) == "leaving") {
                unwanted_.push_back(name_of(*outcome));
            } else if (rows.text(row, 2) == "unlinked") {
                pending_.push_back(rows.string(row, 1));  // the CRM may want it back
            }
        } else if (!by_record_.emplace(rows.string(row, 1), outcome).second &&
                   outcome->result == Result::overtaken) {
            // A second item of the same record is looked at when the first one has come in. That
            // this one has arrived may not have been noted.
            postponed_.push_back(name_of(*outcome));
        }
    }
    std::erase_if(fetched, [&](const Outcome* outcome) { return known.contains(outcome); });
    find_moved(fetched);
    // Also for those that were met together with them.
    note_originals({known.begin(), known.end()});
    take_new(fetched);
}

// An item that was away and has come back has another id, and its stamp says whose it is.
void Incoming::find_moved(const std::vector<const Outcome*>& unknown) {
    StampedItems items =
        take_stamped(link_, sync::make_stamp(configuration_.instance, link_.name, {}), unknown);
    for (const auto& [record, outcome] : items.moved) {
        if (link_.inbound) {
            by_record_.emplace(record, outcome);
            moved_.insert(outcome);
        } else {
            settled_.push_back(name_of(*outcome));
        }
        pending_.push_back(record);  // the CRM may not want it there any more
    }
    std::move(items.settled.begin(), items.settled.end(), std::back_inserter(settled_));
    std::move(items.postponed.begin(), items.postponed.end(), std::back_inserter(postponed_));
    std::move(items.failures.begin(), items.failures.end(), std::back_inserter(failures_));
}

void Incoming::take_new(const std::vector<const Outcome*>& unknown) {
    std::vector<const Outcome*> made_by_users;
    std::copy_if(unknown.begin(), unknown.end(), std::back_inserter(made_by_users),
                 [](const Outcome* outcome) { return outcome->held.stamp.empty(); });
    NewItems items = bring_in_new(link_, made_by_users);
    has_new_ = !items.records.empty() || !items.adopted.empty();
    for (const auto& [record, outcome] : items.adopted) {
        by_record_.emplace(record, outcome);  // one at a time: another is fetched again
        adopted_.emplace(outcome, record);
    }
    std::move(items.settled.begin(), items.settled.end(), std::back_inserter(settled_));
    std::move(items.postponed.begin(), items.postponed.end(), std::back_inserter(postponed_));
    std::move(items.failures.begin(), items.failures.end(), std::back_inserter(failures_));
    std::move(items.waiting.begin(), items.waiting.end(), std::back_inserter(waiting_));
    std::move(items.records.begin(), items.records.end(), std::back_inserter(pending_));
    std::move(items.history.begin(), items.history.end(), std::back_inserter(history_));
}

void Incoming::merge_all() {
    pg::TextArray records;
    for (const auto& [record, outcome] : by_record_) {
        records.push_back(record);
    }
    if (records.empty()) {
        return;
    }
    // Who only reads the CRM need not have a right to lock there.
    pg::TextArray rows = link_.inbound ? lock_rows(link_, records) : records;
    modified_ = modified_rows(link_, rows);
    const std::set<std::string> locked(rows.begin(), rows.end());
    PendingRecords all;
    for (std::string& record : records) {
        all.try_emplace(std::move(record));
    }
    const Facts facts = read_facts(configuration_, link_, std::move(all), NewMailboxes::stored);
    for (const auto& [key, outcome] : by_record_) {
        const RecordFacts& record = facts.records.at(key);
        const bool is_gone = !record.exists && !record.unreadable;
        if (is_gone && adopted_.contains(outcome)) {
            fail(*outcome, "NO-RECORD", "record " + key + ", which it would be of, does not exist");
        } else if (is_gone) {
            // There is nothing to bring it into: that it has to go is decided as ever.
            settled_.push_back(name_of(*outcome));
            pending_.push_back(key);
        } else if (record.unreadable || (locked.contains(key) && !record.problem.empty())) {
            fail(*outcome, record.code, record.problem);
        } else if (!locked.contains(key) || !merge(*outcome, key, record)) {
            // Somebody has the row for the moment, or the mailbox takes no part.
            postponed_.push_back(name_of(*outcome));
        }
    }
}

// Who does not say when is older. In the same second the CRM counts as newer.
bool Incoming::crm_is_newer(const Outcome& outcome, const std::string& key) const {
    if (!outcome.held.modified) {
        return true;
    }
    const auto row = modified_.find(key);
    return row != modified_.end() && row->second >= *outcome.held.modified;
}

// False: it has to wait.
bool Incoming::merge(const Outcome& outcome, const std::string& key, const RecordFacts& record) {
    const auto copy =
        std::find_if(record.copies.begin(), record.copies.end(), [&](const auto& one) {
            return one.first->id == outcome.mailbox && one.first->takes_part &&
                   (one.second.item || (adopted_.contains(&outcome) && one.second.in_audience));
        });
    if (record.exists && copy == record.copies.end() && adopted_.contains(&outcome) &&
        link_.audience_query.empty()) {
        merge(outcome, key, record, sync::KnownItem{});
        return true;
    }
    if (!record.exists || copy == record.copies.end()) {
        return false;
    }
    if (moved_.contains(&outcome) && !copy->second.in_audience && !link_.audience_query.empty()) {
        // A user can write any stamp: it opens no record to him that is not in his mailbox.
        settled_.push_back(name_of(outcome));
        return true;
    }
    // What another item of it held, which is gone, is nothing to this one.
    merge(outcome, key, record,
          adopted_.contains(&outcome) ? sync::KnownItem{} : *copy->second.item);
    return true;
}

void Incoming::merge(const Outcome& outcome, const std::string& key, const RecordFacts& record,
                     const sync::KnownItem& item) {
    MergedItem merged = merge_item(link_, outcome, key, record.desired->values, record.texts,
                                   item.shadow, crm_is_newer(outcome, key));
    if (!merged.problem.empty()) {
        fail(outcome, "VALUE", std::move(merged.problem));
        return;
    }
    merged.adopted = adopted_.contains(&outcome);
    merged.differs |= merged.adopted || sync::needs_stamp(item) || item.doubtful;
    merged_.push_back(std::move(merged));
}

// Only a function of the link's own asks for them.
void Incoming::name_mailboxes() {
    pg::IntegerArray mailboxes;
    for (const MergedItem& merged : merged_) {
        mailboxes.push_back(merged.outcome->mailbox);
    }
    const pg::Rows rows = pg::query(
        "SELECT m.address FROM unnest($1::integer[]) WITH ORDINALITY AS u(mailbox, place) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox ORDER BY u.place",
        &mailboxes);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        merged_[row].change.mailbox = rows.string(row, 0);
    }
}

void Incoming::write_rows() {
    if (!link_.apply.empty()) {
        name_mailboxes();
    }
    std::vector<RowChange> changes;
    for (const MergedItem& merged : merged_) {
        if (!merged.merge.to_crm.empty()) {
            changes.push_back(merged.change);
        }
    }
    const std::map<std::string, pg::Error> errors = crmsync::write_rows(link_, changes);
    std::erase_if(merged_, [&](const MergedItem& merged) {
        const auto error = errors.find(merged.record);
        if (error != errors.end() && error->second.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE) {
            postponed_.push_back(name_of(*merged.outcome));
        } else if (error != errors.end()) {
            fail(*merged.outcome, error->second.code(), error_text(error->second));
        }
        return error != errors.end();
    });
    for (const MergedItem& merged : merged_) {
        if (merged.differs) {
            pending_.push_back(merged.record);
        }
    }
}

void Incoming::write_conflicts() {
    for (const MergedItem& merged : merged_) {
        note_conflicts(merged.outcome->mailbox, merged.record, merged.merge.conflicts, conflicts_);
    }
    crmsync::write_conflicts(conflicts_);
}

void Incoming::write_items() {
    for (const MergedItem& merged : merged_) {
        settled_.push_back(name_of(*merged.outcome));
        if (!merged.merge.to_crm.empty()) {
            Outcome done{};
            done.mailbox = merged.outcome->mailbox;
            done.result = Result::fetched;
            done.action = sync::Action::fetch;
            done.record = merged.record;
            done.fields = merged.merge.to_crm;
            done.before = merged.before;
            history_.push_back(std::move(done));
        }
    }
    write_merged_items(link_.id, merged_);
}

}  // namespace

std::set<ItemName> bring_in(const Configuration& configuration, const LinkConfiguration& link,
                            const std::vector<sync::Outcome>& outcomes) {
    pg::Transaction transaction("bringing in for link " + link.name,
                                pg::Transaction::read_committed);
    Incoming incoming(configuration, link);
    incoming.take(outcomes);
    if (incoming.has_new()) {
        // With a stamp, and nothing known of it, a user's item would be taken for one of ours.
        transaction.commit();
    } else {
        // What is lost in a crash has arrived still.
        transaction.commit_changes_lazily();
    }
    return incoming.waiting();
}

}  // namespace crmsync
