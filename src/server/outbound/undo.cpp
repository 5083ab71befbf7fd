#include "server/outbound/undo.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "record/value.h"
#include "server/outbound/undo_step.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/query.h"
#include "server/state/history.h"
#include "server/state/may_be_asked.h"
#include "sync/stamp.h"

namespace crmsync {

namespace {

using sync::Outcome;
using sync::Result;
using sync::UndoStep;

constexpr int most_steps = 500;

// Of one mailbox: others are to get their turn beside it.
constexpr int most_in_mailbox = 100;

// The rules of a link, but that what somebody has changed in the mailbox stays.
std::shared_ptr<const sync::Rules> careful(const sync::Rules& rules) {
    auto result = std::make_shared<sync::Rules>(rules);
    for (record::FieldPolicy& field : result->fields) {
        field.write = record::Write::unless_changed;
    }
    return result;
}

// An item that is made again had what only comes in, too.
std::shared_ptr<const sync::Rules> both_ways(const sync::Rules& rules) {
    auto result = std::make_shared<sync::Rules>(rules);
    for (record::FieldPolicy& field : result->fields) {
        field.access = record::Access::both;
    }
    return result;
}

std::shared_ptr<sync::Desired> desired_of(const Configuration& configuration,
                                          const LinkConfiguration& link, const std::string& key,
                                          record::Values values,
                                          std::shared_ptr<const sync::Rules> rules) {
    auto desired = std::make_shared<sync::Desired>();
    desired->key = key;
    desired->stamp = sync::make_stamp(configuration.instance, link.name, key);
    desired->values = std::move(values);
    desired->rules = std::move(rules);
    desired->all = record::fields_to_create(desired->rules->object, desired->rules->layout,
                                            desired->rules->fields, desired->values);
    return desired;
}

class Undoer {
  public:
    Undoer(const Configuration& configuration, const LinkConfiguration& link)
        : configuration_(configuration),
          link_(link),
          rules_(careful(link.rules)),
          rules_of_new_(both_ways(link.rules)) {}

    // Columns: step, mailbox, record, old, new, id, change key, shadow, state.
    std::optional<sync::Task> task(const pg::Rows& rows, std::uint64_t row);
    // Returns true when there was something that needs no task.
    bool finish() const {
        done_.remove();
        write_history(history_);
        return !done_.empty();
    }

  private:
    std::optional<sync::Task> restore(const pg::Rows& rows, std::uint64_t row, sync::Task task);
    std::optional<sync::Task> nothing(const pg::Rows& rows, std::uint64_t row,
                                      const sync::Task& task) {
        done_.add(rows.text(row, 0), static_cast<int>(rows.integer(row, 1)), task.record);
        return std::nullopt;
    }

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    std::shared_ptr<const sync::Rules> rules_;
    std::shared_ptr<const sync::Rules> rules_of_new_;
    UndoneRows done_;
    std::vector<Outcome> history_;
};

std::optional<sync::Task> Undoer::task(const pg::Rows& rows, std::uint64_t row) {
    const std::string_view step = rows.text(row, 0);
    const std::string_view state = rows.text(row, 8);
    sync::Task task{};
    task.record = rows.string(row, 2);
    task.item = {rows.string(row, 5), rows.string(row, 6)};
    if (step == "item") {
        return restore(rows, row, std::move(task));
    }
    if (step == "unlink") {
        if (state != "unlinked") {
            return nothing(rows, row, task);  // the CRM wants it back
        }
        task.action = sync::Action::unlink;
        task.undo = UndoStep::unlink;
        return task;
    }
    if (state == "linked" || state == "leaving" || state == "unlinked") {
        return nothing(rows, row, task);  // it is there again
    }
    task.action = sync::Action::create;
    task.undo = UndoStep::create;
    record::Values values = read_values(rows.jsonb(row, 3), link_.rules.layout);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const record::Property& property = *link_.rules.layout[i];
        if (record::only_describes(property, values[i])) {
            values[i].reset();
            history_.push_back(not_kept(static_cast<int>(rows.integer(row, 1)), task.record,
                                        sync::Action::create, std::string(property.name)));
        }
    }
    task.desired = desired_of(configuration_, link_, task.record, std::move(values), rules_of_new_);
    return task;
}

std::optional<sync::Task> Undoer::restore(const pg::Rows& rows, std::uint64_t row,
                                          sync::Task task) {
    const int mailbox = static_cast<int>(rows.integer(row, 1));
    if (rows.text(row, 8) != "linked" || rows.is_null(row, 7)) {
        history_.push_back(left_alone(mailbox, task.record, sync::Action::update, "GONE",
                                      "there is no item of the record any more"));
        return nothing(rows, row, task);
    }
    const record::Layout& layout = rules_->layout;
    const record::Values shadow = read_values(rows.jsonb(row, 7), layout);
    Judged judged = judge(layout, shadow, read_values(rows.jsonb(row, 3), layout),
                          read_values(rows.jsonb(row, 4), layout));
    task.action = sync::Action::update;
    task.undo = UndoStep::item;
    task.fields =
        record::fields_to_update(rules_->object, layout, rules_->fields, judged.restored, shadow);
    if (!judged.left.empty()) {
        history_.push_back(changed_since(mailbox, task.record, sync::Action::update, judged.left));
    }
    if (!judged.lost.empty()) {
        history_.push_back(not_kept(mailbox, task.record, sync::Action::update, judged.lost));
    }
    if (task.fields.empty()) {
        return nothing(rows, row, task);
    }
    for (const record::Field& field : task.fields) {
        const auto place = record::place_of(layout, field.property);
        task.before.push_back(place ? shadow[*place] : record::Value());
    }
    task.agreed = shadow;
    task.rules = link_.kept_rules;
    task.desired =
        desired_of(configuration_, link_, task.record, std::move(judged.restored), rules_);
    return task;
}

// What had to be brought back and was not written, because its user has changed it.
std::string left_by(const Outcome& outcome) {
    std::string left;
    const record::Layout& layout = outcome.desired->rules->layout;
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const bool wanted =
            !record::same_value(*layout[i], outcome.desired->values[i], (*outcome.agreed)[i]);
        const bool is_written =
            std::any_of(outcome.fields.begin(), outcome.fields.end(),
                        [&](const record::Field& field) { return field.property == layout[i]; });
        if (wanted && !is_written) {
            left += (left.empty() ? "" : ", ") + std::string(layout[i]->name);
        }
    }
    return left;
}

struct Items {
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    pg::TextArray change_keys;

    void add(const Outcome& outcome) {
        records.push_back(outcome.record);
        mailboxes.push_back(outcome.mailbox);
        ids.push_back(outcome.item.id);
        change_keys.push_back(outcome.item.change_key);
    }
};

const char* name_of(UndoStep step) {
    return step == UndoStep::create ? "create" : step == UndoStep::unlink ? "unlink" : "item";
}

// Where mailboxes are read the CRM takes the old value, as it takes what users write.
void come_in(const Items& written) {
    pg::query(
        "INSERT INTO crmsync.arrival AS a (mailbox, remote_id) SELECT m.id, u.id "
        "FROM unnest($1::integer[], $2::text[]) AS u(mailbox, id) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox "
        "JOIN crmsync.link l ON l.id = m.link AND l.direction <> 'outbound' "
        "FOR KEY SHARE OF m "
        "ON CONFLICT (mailbox, remote_id) DO UPDATE SET version = a.version + 1",
        &written.mailboxes, &written.ids);
}

// It bears our stamp, by which it would be found if this were lost; that goes next. Whoever made
// the one before, it is its user's also when the CRM wants it there and then no longer does.
void leave_to_users(const Items& created) {
    pg::query(
        "WITH made AS (INSERT INTO crmsync.item AS i "
        "(link, record, mailbox, remote_id, change_key, origin, state, stamped) "
        "SELECT m.link, u.record, m.id, u.id, u.change_key, 'adopted', 'unlinked', true "
        "FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) "
        "AS u(record, mailbox, id, change_key) JOIN crmsync.mailbox m ON m.id = u.mailbox "
        "ON CONFLICT (link, record, mailbox) DO UPDATE SET remote_id = excluded.remote_id, "
        "change_key = excluded.change_key, origin = CASE i.origin WHEN 'crm' THEN excluded.origin "
        "ELSE i.origin END, state = 'unlinked', stamped = true, "
        "since = pg_catalog.now() "
        "RETURNING i.link, i.record, i.mailbox) "
        "UPDATE crmsync.undoing t SET step = 'unlink' FROM made d WHERE t.link = d.link "
        "AND t.step = 'create' AND t.mailbox = d.mailbox AND t.record = d.record",
        &created.records, &created.mailboxes, &created.ids, &created.change_keys);
}

RecordInMailbox concerned_by(const pg::Rows& rows, std::uint64_t row) {
    return {rows.string(row, 2), static_cast<int>(rows.integer(row, 1))};
}

// What somebody has chosen for fields of items that nothing goes on for; what is to be written
// follows in the next turn. Adds them to those that are taken.
bool decide_fields(const LinkConfiguration& link, const pg::Rows& rows,
                   sync::WorkInFlight& in_flight, std::set<RecordInMailbox>& taken) {
    pg::IntegerArray mailboxes;
    pg::TextArray records;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto concerned = concerned_by(rows, row);
        if (rows.text(row, 0) == "decide" && !taken.contains(concerned) &&
            !in_flight.occupies(link.id, concerned.first, concerned.second)) {
            mailboxes.push_back(concerned.second);
            records.push_back(concerned.first);
            taken.insert(concerned);
        }
    }
    if (records.empty()) {
        return false;
    }
    pg::query("SELECT crmsync.decide_fields($1, $2, $3)", link.id, &mailboxes, &records);
    return true;
}

}  // namespace

bool add_undos(const Configuration& configuration, const LinkConfiguration& link,
               sync::WorkInFlight& in_flight, Work& work) {
    // Asked each time that something is decided: the mailboxes of the link may be many.
    if (pg::query("SELECT FROM crmsync.undoing WHERE link = $1 LIMIT 1", link.id).empty()) {
        return false;
    }
    const pg::Rows rows = pg::query(
        "SELECT u.step, u.mailbox, u.record, u.old, u.new, coalesce(i.remote_id, ''), "
        "coalesce(i.change_key, ''), i.shadow, coalesce(i.state, '') "
        "FROM (SELECT u.* FROM crmsync.mailbox m CROSS JOIN LATERAL "
        "(SELECT n.* FROM crmsync.undoing n WHERE n.link = $1 AND n.mailbox = m.id "
        "AND n.step <> 'row' ORDER BY n.record LIMIT $3) AS u "
        "WHERE m.link = $1 AND m.moved IS NULL AND " +
            may_be_asked +
            "LIMIT $2) AS u LEFT JOIN crmsync.item i "
            "ON i.link = u.link AND i.record = u.record AND i.mailbox = u.mailbox",
        link.id, most_steps, most_in_mailbox);
    if (rows.empty()) {
        return false;
    }
    Undoer undoer(configuration, link);
    std::set<RecordInMailbox> taken = work.begun_in();
    const bool decided = decide_fields(link, rows, in_flight, taken);
    std::map<std::string, std::vector<int>> begun;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto concerned = concerned_by(rows, row);
        const auto& [record, mailbox] = concerned;
        if (rows.text(row, 0) == "decide" || taken.contains(concerned) ||
            in_flight.occupies(link.id, record, mailbox)) {
            continue;
        }
        if (auto task = undoer.task(rows, row)) {
            work.tasks.emplace_back(mailbox, std::move(*task));
            begun[record].push_back(mailbox);
        }
    }
    const bool finished = undoer.finish();
    work.begin_also(begun);
    return decided || finished || !begun.empty();
}

void note_undone(const std::vector<const Outcome*>& outcomes) {
    Items written;
    Items created;
    UndoneRows done;
    std::vector<Outcome> history;
    for (const Outcome* outcome : outcomes) {
        const bool is_written = outcome->result == Result::written;
        if (is_written && outcome->undo == UndoStep::create) {
            created.add(*outcome);
            continue;
        }
        if (!carried_out(outcome->result) && outcome->result != Result::failed) {
            continue;  // it is tried again
        }
        done.add(name_of(outcome->undo), outcome->mailbox, outcome->record);
        if (is_written) {
            written.add(*outcome);
            const std::string left = left_by(*outcome);
            if (!left.empty()) {
                history.push_back(
                    changed_since(outcome->mailbox, outcome->record, outcome->action, left));
            }
        }
    }
    come_in(written);
    leave_to_users(created);
    done.remove();
    write_history(history);
}

}  // namespace crmsync
