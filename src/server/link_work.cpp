#include "server/link_work.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "record/value.h"
#include "server/delete_guard.h"
#include "server/encoding.h"
#include "server/jsonb_fields.h"
#include "server/query.h"
#include "server/record_key.h"
#include "server/subtransaction.h"
#include "sync/stamp.h"

namespace crmsync {

namespace {

constexpr int most_records = 2000;
constexpr double wanted_pairs = 10'000;

// A mailbox that is concerned by this piece of work.
struct Mailbox {
    int id = 0;
    std::string address;
    std::string folder_id;
    bool takes_part = true;
    bool available = true;
    std::string code;
    std::string message;
};

// One record in one mailbox.
struct Copy {
    bool in_audience = false;
    std::optional<sync::KnownItem> item;
    bool confirmed = false;  // of an item that is leaving: the guard lets it pass
};

// What could not be done before.
struct KnownFailure {
    bool holds_back;  // it is not to be tried again yet
    std::string code;
    std::string message;
};

struct RecordWork {
    std::vector<PendingRow> rows;
    bool fresh = false;
    bool exists = false;
    bool unreadable = false;  // whether it exists is not known: its expressions fail
    std::string code = "value";
    std::string problem;  // why its values cannot be sent
    std::shared_ptr<sync::Desired> desired;
    std::map<const Mailbox*, Copy> copies;
    std::map<int, KnownFailure> failures;  // by mailbox
};

class Reader {
  public:
    // outlook: where to say what would be done instead of noting it in our tables; or null.
    Reader(const Configuration& configuration, const LinkConfiguration& link,
           Outlook* outlook = nullptr)
        : configuration_(configuration), link_(link), outlook_(outlook) {}

    void take(const std::vector<std::string>& keys);
    bool read_pending(WorkInFlight& in_flight, PendingPosition& position, int limit);
    Work read_and_decide();

    std::map<std::string, RecordWork>& records() { return records_; }

  private:
    void read_audience();
    void read_items();
    template <class Read>
    void divide(const pg::TextArray& keys, const Read& read);
    void read_source(const pg::TextArray& keys);
    void read_audience(const pg::TextArray& keys, pg::TextArray& addresses);
    void read_failures();
    Work decide();
    Mailbox* mailbox_by_address(const std::string& address);
    void read_mailboxes(const pg::TextArray& addresses, const pg::IntegerArray& ids);
    void create_mailboxes();
    void set_values(RecordWork& record, const std::string& key, const pg::Rows& rows,
                    std::uint64_t row);
    bool decide_copy(RecordWork& record, const std::string& key, const Mailbox& mailbox,
                     const Copy& copy, Work& work, int& outcomes);
    void foresee_delete(const RecordWork& record, const std::string& key, const Mailbox& mailbox,
                        const Copy& copy);
    void settle_failures(const RecordWork& record, const std::string& key,
                         const std::vector<int>& failing);
    void write_verdicts();

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    Outlook* outlook_;
    std::map<std::string, RecordWork> records_;
    pg::TextArray keys_;
    std::map<std::string, Mailbox> mailboxes_;
    std::unordered_map<int, Mailbox*> mailboxes_by_id_;

    // Verdicts that only change our own tables.
    struct Verdicts {
        pg::TextArray records;
        pg::IntegerArray mailboxes;
        void add(const std::string& record, int mailbox) {
            records.push_back(record);
            mailboxes.push_back(mailbox);
        }
    };
    Verdicts leave_;
    Verdicts stay_;
    Verdicts forget_;
    Verdicts well_;  // has failed before, and needs nothing any more
};

// Returns true when it has not been all round yet, or has taken something on a round that took more
// than one call: what is pending may then have changed behind it.
bool Reader::read_pending(WorkInFlight& in_flight, PendingPosition& position, int limit) {
    const bool from_start = position.at_start();
    position.took = position.took && !from_start;
    for (int tier = 0; tier < 2; ++tier) {
        const int wanted = limit - static_cast<int>(keys_.size());
        if (wanted <= 0) {
            position.took = true;
            return true;
        }
        const pg::Rows rows = pg::query(
            "SELECT record, version FROM crmsync.pending "
            "WHERE link = $1 AND tier = $2 AND record > $3 ORDER BY record LIMIT $4",
            link_.id, tier, std::string_view(position.after[tier]), wanted);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            PendingRow pending{link_.id, tier, rows.string(row, 0), rows.integer(row, 1)};
            if (in_flight.occupies(pending)) {
                continue;
            }
            RecordWork& record = records_[pending.record];
            if (record.rows.empty()) {
                keys_.push_back(pending.record);
            }
            record.fresh |= tier == 0;
            record.rows.push_back(std::move(pending));
        }
        const bool whole = rows.size() == static_cast<std::uint64_t>(wanted);
        position.after[tier] = whole ? rows.string(rows.size() - 1, 0) : std::string();
    }
    position.took |= !keys_.empty();
    return !position.at_start() || (!from_start && position.took);
}

void Reader::take(const std::vector<std::string>& keys) {
    for (const std::string& key : keys) {
        if (records_.try_emplace(key).second) {
            keys_.push_back(key);
        }
    }
}

Mailbox* Reader::mailbox_by_address(const std::string& address) {
    Mailbox& mailbox = mailboxes_[address];
    mailbox.address = address;
    return &mailbox;
}

// The error is of the values that a query has met, not of the query: other records may do better.
bool concerns_values(const pg::Error& error) {
    const std::string code = error.code();
    return code.starts_with("22") || code.starts_with("21") || code.starts_with("P0") ||
           code.starts_with("38") || code.starts_with("39");
}

// Reads what can be read: where values make a query fail, its records are divided until those stand
// alone that are to blame.
template <class Read>
void Reader::divide(const pg::TextArray& keys, const Read& read) {
    const std::optional<pg::Error> error = pg::subtransaction([&] { read(keys); });
    if (!error) {
        return;
    }
    pg::check_interrupts();
    if (!concerns_values(*error)) {
        throw pg::Error(*error);
    }
    if (keys.size() == 1) {
        RecordWork& record = records_.at(keys.front());
        record.unreadable = true;
        record.code = error->code();
        record.problem = error->message;
        return;
    }
    const auto middle = keys.begin() + static_cast<std::ptrdiff_t>(keys.size() / 2);
    divide({keys.begin(), middle}, read);
    divide({middle, keys.end()}, read);
}

void Reader::read_audience() {
    pg::TextArray addresses;
    divide(keys_, [&](const pg::TextArray& keys) { read_audience(keys, addresses); });
    read_mailboxes(addresses, {});
}

void Reader::read_audience(const pg::TextArray& keys, pg::TextArray& addresses) {
    const pg::Rows rows = pg::query_as(link_.owner, link_.audience_query, &keys);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto record = records_.find(rows.string(row, 0));
        if (record == records_.end()) {
            continue;
        }
        const std::string address = rows.string(row, 1);
        if (address.size() > longest_address) {
            continue;
        }
        if (!mailboxes_.contains(address)) {
            addresses.push_back(address);
        }
        record->second.copies[mailbox_by_address(address)].in_audience = true;
    }
}

void Reader::read_mailboxes(const pg::TextArray& addresses, const pg::IntegerArray& ids) {
    const pg::Rows rows = pg::query(
        "SELECT id, address, coalesce(folder_id, ''), "
        "code IS NULL OR next_attempt <= pg_catalog.now(), coalesce(code, ''), "
        "coalesce(message, '') "
        "FROM crmsync.mailbox WHERE link = $1 AND (address = ANY ($2) OR id = ANY ($3))",
        link_.id, &addresses, &ids);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        Mailbox* mailbox = mailbox_by_address(rows.string(row, 1));
        mailbox->id = static_cast<int>(rows.integer(row, 0));
        mailbox->folder_id = rows.string(row, 2);
        mailbox->available = rows.boolean(row, 3);
        mailbox->code = rows.string(row, 4);
        mailbox->message = rows.string(row, 5);
        mailboxes_by_id_[mailbox->id] = mailbox;
    }
}

void Reader::read_items() {
    const pg::Rows rows = pg::query(
        "SELECT record, mailbox, coalesce(remote_id, ''), coalesce(change_key, ''), shadow, "
        "origin, state, confirmed FROM crmsync.item WHERE link = $1 AND record = ANY ($2)",
        link_.id, &keys_);
    pg::IntegerArray unknown;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const int id = static_cast<int>(rows.integer(row, 1));
        if (mailboxes_by_id_.try_emplace(id, nullptr).second) {
            unknown.push_back(id);
        }
    }
    if (!unknown.empty()) {
        read_mailboxes({}, unknown);
    }
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        Mailbox* mailbox = mailboxes_by_id_.at(static_cast<int>(rows.integer(row, 1)));
        sync::KnownItem item;
        item.reference = {rows.string(row, 2), rows.string(row, 3)};
        if (!rows.is_null(row, 4)) {
            item.shadow = read_values(rows.jsonb(row, 4), link_.rules.layout);
        }
        item.origin = rows.text(row, 5) == "crm"       ? sync::Origin::crm
                      : rows.text(row, 5) == "adopted" ? sync::Origin::adopted
                                                       : sync::Origin::mailbox;
        item.leaving = rows.text(row, 6) == "leaving";
        item.gone = rows.text(row, 6) == "gone";
        Copy& copy = records_.at(rows.string(row, 0)).copies[mailbox];
        copy.item = std::move(item);
        copy.confirmed = rows.boolean(row, 7);
    }
    if (!link_.mailboxes_query.empty()) {
        for (auto& [address, mailbox] : mailboxes_) {
            mailbox.takes_part = false;
        }
        const pg::Rows participants = pg::query_as(link_.owner, link_.mailboxes_query);
        for (std::uint64_t row = 0; row < participants.size(); ++row) {
            const auto mailbox = mailboxes_.find(participants.string(row, 0));
            if (mailbox != mailboxes_.end()) {
                mailbox->second.takes_part = participants.boolean(row, 1);
            }
        }
    }
    create_mailboxes();
}

void Reader::create_mailboxes() {
    pg::TextArray missing;
    for (const auto& [address, mailbox] : mailboxes_) {
        if (mailbox.id == 0 && mailbox.takes_part) {
            missing.push_back(address);
        }
    }
    if (missing.empty()) {
        return;
    }
    if (outlook_ != nullptr) {
        int provisional = 0;
        for (const std::string& address : missing) {
            mailbox_by_address(address)->id = --provisional;
        }
        return;
    }
    const pg::Rows rows = pg::query(
        "INSERT INTO crmsync.mailbox (link, address) SELECT $1, address "
        "FROM unnest($2::text[]) AS u(address) RETURNING id, address",
        link_.id, &missing);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        Mailbox* mailbox = mailbox_by_address(rows.string(row, 1));
        mailbox->id = static_cast<int>(rows.integer(row, 0));
        mailboxes_by_id_[mailbox->id] = mailbox;
    }
}

void Reader::read_source(const pg::TextArray& keys) {
    const pg::Rows rows = pg::query_as(link_.owner, link_.source_query, &keys);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const std::string key = rows.string(row, 0);
        const auto record = records_.find(key);
        if (record != records_.end()) {
            set_values(record->second, key, rows, row);
        }
    }
}

void Reader::set_values(RecordWork& record, const std::string& key, const pg::Rows& rows,
                        std::uint64_t row) {
    const record::Layout& layout = link_.rules.layout;
    record.exists = true;
    record.desired = std::make_shared<sync::Desired>();
    record.desired->key = key;
    record.desired->stamp = sync::make_stamp(configuration_.instance, link_.name, key);
    record.desired->values.resize(layout.size());
    record.desired->rules = link_.kept_rules;
    if (key.size() > longest_key) {
        record.code = "key";
        record.problem = "the record's key has " + std::to_string(key.size()) +
                         " bytes, and a key may have " + std::to_string(longest_key);
        return;
    }
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const int column = static_cast<int>(i) + 1;
        if (rows.is_null(row, column)) {
            continue;
        }
        std::string_view text = rows.text(row, column);
        const auto& map = link_.value_maps[i];
        if (map) {
            const auto mapped = map->find(std::string(text));
            if (mapped == map->end()) {
                record.problem = "value \"" + std::string(text) + "\" for property \"" +
                                 std::string(layout[i]->name) + "\" is not in its value_map";
                return;
            }
            text = mapped->second;
        }
        record::Canonical canonical = record::canonical(*layout[i], text);
        if (canonical.ok() && canonical.value) {
            // What JSON spells may be in the text and yet not to be kept in the database.
            if (const auto problem = pg::encoding_problem(*canonical.value)) {
                canonical.problem = std::string(layout[i]->name) + ": " + *problem;
            }
        }
        if (!canonical.ok()) {
            record.problem = std::move(canonical.problem);
            return;
        }
        record.desired->values[i] = std::move(canonical.value);
    }
    record.desired->all = record::fields_to_create(link_.rules.object, layout, link_.rules.fields,
                                                   record.desired->values);
    record.desired->absent = sync::absent_fields(link_.rules, record.desired->values);
}

void Reader::read_failures() {
    const pg::Rows rows = pg::query(
        "SELECT record, mailbox, (next_attempt IS NULL OR next_attempt > pg_catalog.now()) "
        "AND code <> 'postponed', code, message FROM crmsync.failure "
        "WHERE link = $1 AND record = ANY ($2)",
        link_.id, &keys_);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        RecordWork& record = records_.at(rows.string(row, 0));
        // What the CRM has changed since is tried again at once.
        record.failures[static_cast<int>(rows.integer(row, 1))] = {
            rows.boolean(row, 2) && !record.fresh, rows.string(row, 3), rows.string(row, 4)};
    }
}

sync::Outcome without_network(sync::Result result, const Mailbox& mailbox, const std::string& key,
                              exchange::Failure failure) {
    sync::Outcome outcome{};
    outcome.mailbox = mailbox.id;
    outcome.result = result;
    outcome.action = sync::Action::update;
    outcome.record = key;
    outcome.failure = std::move(failure);
    return outcome;
}

// Returns true when something is to be done there, now or later: a failure of before stays noted.
bool Reader::decide_copy(RecordWork& record, const std::string& key, const Mailbox& mailbox,
                         const Copy& copy, Work& work, int& outcomes) {
    if (!mailbox.takes_part) {
        return false;
    }
    const auto failure = record.failures.find(mailbox.id);
    const bool held_back = failure != record.failures.end() && failure->second.holds_back;
    const bool has_problem = record.unreadable || (record.exists && copy.in_audience);
    if (!record.problem.empty() && has_problem) {
        if (!held_back) {
            ++outcomes;
            work.outcomes.push_back(
                without_network(sync::Result::failed, mailbox, key,
                                {exchange::Disposition::item_failed, record.code, record.problem}));
        }
        return true;
    }
    sync::Wish wish;
    wish.exists = record.exists;
    wish.in_audience = copy.in_audience;
    wish.values = record.exists ? &record.desired->values : nullptr;
    sync::Decision decision = sync::decide(link_.rules, wish, copy.item ? &*copy.item : nullptr);

    sync::Task task{};
    switch (decision.verdict) {
        case sync::Verdict::nothing:
            if (copy.item && copy.item->leaving) {
                foresee_delete(record, key, mailbox, copy);
                return true;
            }
            return false;
        case sync::Verdict::leave:
            leave_.add(key, mailbox.id);
            foresee_delete(record, key, mailbox, copy);
            return false;
        case sync::Verdict::stay:
            stay_.add(key, mailbox.id);
            return false;
        case sync::Verdict::forget:
            forget_.add(key, mailbox.id);
            return false;
        case sync::Verdict::create:
            task.action = sync::Action::create;
            break;
        case sync::Verdict::update:
            task.action = sync::Action::update;
            if (copy.item->leaving) {
                stay_.add(key, mailbox.id);
            }
            break;
        case sync::Verdict::unlink:
            task.action = sync::Action::unlink;
            break;
    }
    if (held_back) {
        if (outlook_ != nullptr) {
            const KnownFailure& known = failure->second;
            work.outcomes.push_back(
                without_network(sync::Result::postponed, mailbox, key,
                                {exchange::Disposition::item_failed, known.code, known.message}));
        }
        return true;
    }
    ++outcomes;
    if (!mailbox.available) {
        work.outcomes.push_back(without_network(
            sync::Result::postponed, mailbox, key,
            {exchange::Disposition::mailbox_disabled, mailbox.code, mailbox.message}));
        return true;
    }
    task.record = key;
    task.desired = record.desired;
    task.fields = std::move(decision.fields);
    task.before = std::move(decision.before);
    task.agreed = std::move(decision.agreed);
    task.fresh = record.fresh;
    if (copy.item) {
        task.item = copy.item->reference;
    }
    work.tasks.emplace_back(mailbox.id, std::move(task));
    return true;
}

void Reader::foresee_delete(const RecordWork& record, const std::string& key,
                            const Mailbox& mailbox, const Copy& copy) {
    if (outlook_ == nullptr) {
        return;
    }
    const auto failure = record.failures.find(mailbox.id);
    std::string waits_for;
    if (!mailbox.available) {
        waits_for = mailbox.code + ": " + mailbox.message;
    } else if (failure != record.failures.end() && failure->second.holds_back) {
        waits_for = failure->second.code + ": " + failure->second.message;
    }
    outlook_->leaving.push_back(
        {key, mailbox.id, record.exists, copy.confirmed, std::move(waits_for)});
}

void Reader::settle_failures(const RecordWork& record, const std::string& key,
                             const std::vector<int>& failing) {
    for (const auto& [mailbox, failure] : record.failures) {
        if (std::find(failing.begin(), failing.end(), mailbox) == failing.end()) {
            well_.add(key, mailbox);
        }
    }
}

void Reader::write_verdicts() {
    if (!well_.records.empty()) {
        pg::query(
            "DELETE FROM crmsync.failure f "
            "USING unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE f.link = $1 AND f.record = u.record AND f.mailbox = u.mailbox",
            link_.id, &well_.records, &well_.mailboxes);
    }
    if (!leave_.records.empty()) {
        pg::query(
            "UPDATE crmsync.item i SET state = 'leaving', confirmed = false, "
            "since = pg_catalog.now() FROM unnest($2::text[], $3::integer[]) "
            "AS u(record, mailbox) WHERE i.link = $1 AND i.record = u.record "
            "AND i.mailbox = u.mailbox AND i.state = 'linked'",
            link_.id, &leave_.records, &leave_.mailboxes);
    }
    if (!stay_.records.empty()) {
        pg::query(
            "UPDATE crmsync.item i SET state = 'linked', since = pg_catalog.now() "
            "FROM unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox "
            "AND i.state = 'leaving'",
            link_.id, &stay_.records, &stay_.mailboxes);
    }
    if (!forget_.records.empty()) {
        pg::query(
            "DELETE FROM crmsync.item i "
            "USING unnest($2::text[], $3::integer[]) AS u(record, mailbox) "
            "WHERE i.link = $1 AND i.record = u.record AND i.mailbox = u.mailbox",
            link_.id, &forget_.records, &forget_.mailboxes);
    }
}

Work Reader::read_and_decide() {
    read_audience();
    read_items();
    divide(keys_, [&](const pg::TextArray& keys) { read_source(keys); });
    read_failures();
    return decide();
}

Work Reader::decide() {
    Work work;
    std::vector<PendingRow> unchanged;
    for (auto& [key, record] : records_) {
        int outcomes = 0;
        work.pairs += record.copies.size();
        std::vector<int> failing;
        for (const auto& [mailbox, copy] : record.copies) {
            if (decide_copy(record, key, *mailbox, copy, work, outcomes)) {
                failing.push_back(mailbox->id);
            }
        }
        settle_failures(record, key, failing);
        if (outcomes > 0) {
            work.begun.push_back({key, record.rows, outcomes});
        } else {
            ++work.unchanged;
            unchanged.insert(unchanged.end(), record.rows.begin(), record.rows.end());
        }
    }
    if (outlook_ == nullptr) {
        write_verdicts();
        settle_pending(unchanged);
    } else {
        for (const auto& [address, mailbox] : mailboxes_) {
            outlook_->addresses.emplace(mailbox.id, address);
        }
    }
    return work;
}

}  // namespace

std::int64_t pending_records(int link) {
    return pg::query("SELECT pg_catalog.count(*) FROM crmsync.pending WHERE link = $1", link)
        .integer(0, 0);
}

void settle_pending(const std::vector<PendingRow>& rows) {
    if (rows.empty()) {
        return;
    }
    pg::IntegerArray links;
    pg::IntegerArray tiers;
    pg::TextArray records;
    pg::BigintArray versions;
    for (const PendingRow& row : rows) {
        links.push_back(row.link);
        tiers.push_back(row.tier);
        records.push_back(row.record);
        versions.push_back(row.version);
    }
    // A row that was named again meanwhile has another version, and stays.
    pg::query(
        "DELETE FROM crmsync.pending p "
        "USING unnest($1::integer[], $2::integer[], $3::text[], $4::bigint[]) "
        "AS u(link, tier, record, version) "
        "WHERE p.link = u.link AND p.tier = u.tier AND p.record = u.record "
        "AND p.version = u.version",
        &links, &tiers, &records, &versions);
}

namespace {

// Deletes that the guard lets pass, of records that nothing else is going on for. Returns true when
// there may be more of them.
bool add_deletes(const LinkConfiguration& link, WorkInFlight& in_flight, Work& work) {
    const std::vector<LeavingItem> items = deletable_items(link);
    std::map<std::string, int> outcomes;
    for (const LeavingItem& item : items) {
        if (in_flight.occupies(link.id, item.record)) {
            continue;
        }
        sync::Task task{};
        task.action = sync::Action::remove;
        task.record = item.record;
        task.item = item.reference;
        task.fresh = true;
        work.tasks.emplace_back(item.mailbox, std::move(task));
        ++outcomes[item.record];
    }
    for (const auto& [record, count] : outcomes) {
        const auto same = std::find_if(work.begun.begin(), work.begun.end(),
                                       [&](const Work::Begun& b) { return b.record == record; });
        if (same != work.begun.end()) {
            same->outcomes += count;
        } else {
            work.begun.push_back({record, {}, count});
        }
    }
    return !outcomes.empty() && items.size() == most_deletes_at_once;
}

// What the engine has to know of the mailboxes that the tasks go to.
void describe_mailboxes(const Configuration& configuration, const LinkConfiguration& link,
                        Work& work) {
    pg::IntegerArray ids;
    for (const auto& [mailbox, task] : work.tasks) {
        ids.push_back(mailbox);
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    const pg::Rows rows = pg::query(
        "SELECT id, address, coalesce(folder_id, ''), code IS NOT NULL FROM crmsync.mailbox "
        "WHERE id = ANY ($1)",
        &ids);
    const TargetConfiguration& target = configuration.targets.at(link.target);
    const std::string prefix = sync::make_stamp(configuration.instance, link.name, {});
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        sync::MailboxDescription mailbox;
        mailbox.id = static_cast<int>(rows.integer(row, 0));
        mailbox.link = link.id;
        mailbox.target = link.target;
        mailbox.account = {rows.string(row, 1), target.impersonation, target.server_version};
        mailbox.object = link.rules.object;
        mailbox.folder_name = link.folder;
        mailbox.folder_id = rows.string(row, 2);
        mailbox.troubled = rows.boolean(row, 3);
        mailbox.stamp_prefix = prefix;
        mailbox.policy = link.rules.policy;
        mailbox.hard_delete = link.hard_delete;
        work.mailboxes.push_back(std::move(mailbox));
    }
}

}  // namespace

Outlook look_ahead(const Configuration& configuration, const LinkConfiguration& link,
                   const std::vector<std::string>& records) {
    Outlook outlook;
    Reader reader(configuration, link, &outlook);
    reader.take(records);
    outlook.work = reader.read_and_decide();
    return outlook;
}

bool PendingPosition::shrink() {
    if (divisor >= most_records) {
        return false;
    }
    divisor *= 4;
    return true;
}

Work next_work(const Configuration& configuration, const LinkConfiguration& link,
               WorkInFlight& in_flight, PendingPosition& position) {
    const int limit = std::clamp(static_cast<int>(wanted_pairs / position.pairs_per_record), 1,
                                 std::max(1, most_records / position.divisor));
    Reader reader(configuration, link);
    const bool more = reader.read_pending(in_flight, position, limit);
    Work work;
    if (!reader.records().empty()) {
        work = reader.read_and_decide();
        position.pairs_per_record = std::max(
            0.5, static_cast<double>(work.pairs) / static_cast<double>(reader.records().size()));
        position.divisor = std::max(1, position.divisor / 2);
    }
    work.more = more;
    if (!more) {
        // Only when all that is pending has been looked at is the number of deletes known.
        work.more_deletes = add_deletes(link, in_flight, work);
    }
    if (!work.tasks.empty()) {
        describe_mailboxes(configuration, link, work);
    }
    return work;
}

}  // namespace crmsync
