#include "server/inbound/item_match.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "record/value.h"
#include "server/configuration/comparable_text.h"
#include "server/crm/records_to_match.h"
#include "server/outbound/record_facts.h"
#include "server/postgres/query.h"
#include "server/state/arrivals.h"

namespace crmsync {

namespace {

// Records whose values are read together.
constexpr std::size_t slice = 1000;

constexpr char separator = '\x1f';

class Matcher {
  public:
    explicit Matcher(const LinkConfiguration& link)
        : link_(link),
          comparable_("SELECT " + comparable_text("u.value") +
                      " FROM unnest($1::text[]) WITH ORDINALITY AS u(value, place) "
                      "ORDER BY u.place") {
        pg::NullableTextArray constants;
        for (const std::size_t place : link_.match_on) {
            constants.push_back(link_.fields_in[place].constant);
        }
        constants_ = comparable(constants);
    }

    std::vector<ItemMatch> match(const std::vector<ItemToMatch>& items);

  private:
    std::vector<std::string> comparable(const pg::NullableTextArray& values) const;
    record::Value known_by(const record::Values& values, std::size_t place) const;
    std::vector<std::string> keys_of(const std::vector<const record::Values*>& all) const;
    void read_audience(const std::vector<ItemToMatch>& items);
    void find_records();
    void find_taken(const std::vector<ItemToMatch>& items);
    void find_known(const std::vector<ItemToMatch>& items);
    void find_keyed(const std::vector<ItemToMatch>& items);
    void find_rivals(const std::vector<ItemToMatch>& items, const std::vector<std::string>& keys);
    bool is_free(const std::string& record, int mailbox) const {
        return !taken_.contains({record, mailbox});
    }
    bool belongs(const std::string& record, const ItemToMatch& item) const {
        const auto addresses = audience_.find(record);
        return addresses != audience_.end() &&
               (link_.audience_query.empty() || addresses->second.contains(item.address));
    }
    std::vector<std::string> records_of(const ItemToMatch& item, const std::string& key) const;
    ItemMatch match(const ItemToMatch& item, const std::string& key) const;
    ItemMatch match_by_key(const ItemToMatch& item) const;
    ItemMatch take_oldest(const ItemToMatch& item, const std::vector<std::string>& records) const;

    const LinkConfiguration& link_;
    std::string comparable_;
    std::vector<std::string> constants_;  // parallel to match_on: what stands in for nothing
    std::set<std::string> wanted_;        // keys
    std::map<std::string, std::set<std::string>> audience_;    // record: addresses
    std::map<std::string, std::vector<std::string>> records_;  // key: records
    std::set<std::string> elsewhere_;  // records that items bear the key of, and that are not in
                                       // the audience of these mailboxes
    std::set<std::pair<std::string, int>> taken_;  // records that have an item in a mailbox
    struct Known {
        bool met = false;    // all items of its mailbox are known
        std::string choice;  // what somebody has decided of it
    };
    std::map<ItemName, Known> known_;
    using Age = std::pair<std::string, std::string>;               // when it was made, its id
    std::map<std::pair<int, std::string>, std::set<Age>> rivals_;  // mailbox, record: items
};

std::pair<pg::IntegerArray, pg::TextArray> names_of(const std::vector<ItemToMatch>& items) {
    std::pair<pg::IntegerArray, pg::TextArray> names;
    for (const ItemToMatch& item : items) {
        names.first.push_back(item.mailbox);
        names.second.push_back(item.id);
    }
    return names;
}

// Numbers in their own order.
bool is_lower(const std::string& a, const std::string& b) {
    const auto is_number = [](const std::string& key) {
        return key.find_first_not_of("0123456789") == std::string::npos;
    };
    return is_number(a) && is_number(b) && a.size() != b.size() ? a.size() < b.size() : a < b;
}

std::vector<std::string> Matcher::comparable(const pg::NullableTextArray& values) const {
    const pg::Rows rows = pg::query(comparable_, &values);
    std::vector<std::string> texts;
    texts.reserve(values.size());
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        texts.push_back(rows.string(row, 0));
    }
    return texts;
}

// A property that stands in does so on both sides: what the CRM has may have come from such an
// item, or be as incomplete.
record::Value Matcher::known_by(const record::Values& values, std::size_t place) const {
    const auto is_none = [&](std::size_t one) {
        return record::same_value(*link_.rules.layout[one], values[one], {});
    };
    const std::optional<std::size_t>& fallback = link_.fields_in[place].fallback;
    const std::size_t other = is_none(place) && fallback ? *fallback : place;
    return is_none(other) ? record::Value() : values[other];
}

// A constant that stands in is as good as nothing, on both sides.
std::vector<std::string> Matcher::keys_of(const std::vector<const record::Values*>& all) const {
    pg::NullableTextArray values;
    for (const record::Values* one : all) {
        for (const std::size_t place : link_.match_on) {
            values.push_back(known_by(*one, place));
        }
    }
    const std::vector<std::string> texts = comparable(values);
    std::vector<std::string> keys(all.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::size_t property = i % link_.match_on.size();
        std::string& key = keys[i / link_.match_on.size()];
        if (texts[i] != constants_[property]) {
            key += texts[i];
        }
        key += separator;
    }
    for (std::string& key : keys) {
        if (key.find_first_not_of(separator) == std::string::npos) {
            key.clear();  // nobody is known by nothing
        }
    }
    return keys;
}

void Matcher::read_audience(const std::vector<ItemToMatch>& items) {
    pg::TextArray addresses;
    for (const ItemToMatch& item : items) {
        addresses.push_back(item.address);
    }
    if (link_.audience_query.empty()) {  // any record may be anywhere
        const pg::Rows all = pg::query_as(link_.owner, link_.key_query);
        for (std::uint64_t row = 0; row < all.size(); ++row) {
            audience_[all.string(row, 0)];
        }
        return;
    }
    const pg::Rows rows = pg::query_as(link_.owner, link_.audience_in_query, &addresses);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        audience_[rows.string(row, 0)].insert(rows.string(row, 1));
    }
}

// Of all records in the audience only those are kept that somebody looks for.
void Matcher::find_records() {
    for (auto next = audience_.begin(); next != audience_.end();) {
        pg::check_interrupts();
        pg::TextArray keys;
        for (; next != audience_.end() && keys.size() < slice; ++next) {
            keys.push_back(next->first);
        }
        const std::vector<RecordToMatch> read = records_to_match(link_, keys);
        std::vector<const record::Values*> values;
        values.reserve(read.size());
        for (const RecordToMatch& one : read) {
            values.push_back(&one.values);
        }
        const std::vector<std::string> found = keys_of(values);
        for (std::size_t i = 0; i < read.size(); ++i) {
            if (wanted_.contains(found[i])) {
                records_[found[i]].push_back(read[i].key);
            }
        }
    }
}

void Matcher::find_taken(const std::vector<ItemToMatch>& items) {
    pg::TextArray records;
    for (const auto& [key, matching] : records_) {
        records.insert(records.end(), matching.begin(), matching.end());
    }
    pg::IntegerArray mailboxes;
    for (const ItemToMatch& item : items) {
        mailboxes.push_back(item.mailbox);
        records.push_back(known_[{item.mailbox, item.id}].choice);
        records.push_back(item.key);
    }
    const pg::Rows rows = pg::query(
        "SELECT i.record, i.mailbox FROM " + for_each_record("crmsync.item") +
            " WHERE i.mailbox = ANY ($3) AND i.state NOT IN ('absent', 'gone', 'removed')",
        link_.id, &records, &mailboxes);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        taken_.emplace(rows.string(row, 0), static_cast<int>(rows.integer(row, 1)));
    }
}

// An item that has waited is looked at when all others of its mailbox are known, too.
void Matcher::find_known(const std::vector<ItemToMatch>& items) {
    const auto [mailboxes, ids] = names_of(items);
    const pg::Rows rows = pg::query(
        "SELECT u.place, m.met IS NOT NULL OR a.created IS NOT NULL, coalesce(c.choice, '') "
        "FROM unnest($1::integer[], $2::text[]) WITH ORDINALITY AS u(mailbox, id, place) "
        "JOIN crmsync.mailbox m ON m.id = u.mailbox "
        "LEFT JOIN crmsync.arrival a ON a.mailbox = u.mailbox AND a.remote_id = u.id "
        "LEFT JOIN crmsync.conflict c ON c.mailbox = u.mailbox AND c.item = u.id "
        "AND c.kind = 'ambiguous'",
        &mailboxes, &ids);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const ItemToMatch& item = items[static_cast<std::size_t>(rows.integer(row, 0)) - 1];
        known_[{item.mailbox, item.id}] = {rows.boolean(row, 1), rows.string(row, 2)};
    }
}

// What programs of others have left there may be anything: it is looked for among the keys as text.
void Matcher::find_keyed(const std::vector<ItemToMatch>& items) {
    pg::TextArray keys;
    for (const ItemToMatch& item : items) {
        if (!item.key.empty() && !audience_.contains(item.key)) {
            keys.push_back(item.key);
        }
    }
    if (keys.empty()) {
        return;
    }
    const pg::Rows rows = pg::query_as(
        link_.owner, "SELECT k.key FROM (" + link_.key_query + ") AS k WHERE k.key = ANY ($1)",
        &keys);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        elsewhere_.insert(rows.string(row, 0));
    }
}

// Other items that may be of the same records: those that are looked at now, and those that wait or
// are parked.
void Matcher::find_rivals(const std::vector<ItemToMatch>& items,
                          const std::vector<std::string>& keys) {
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray ids;
    for (std::size_t i = 0; i < items.size(); ++i) {
        mailboxes.push_back(items[i].mailbox);
        ids.push_back(items[i].id);
        for (const std::string& record : records_of(items[i], keys[i])) {
            records.push_back(record);
            rivals_[{items[i].mailbox, record}].emplace(items[i].created, items[i].id);
        }
    }
    const pg::Rows rows = pg::query(
        "SELECT a.mailbox, r.record, coalesce(a.created, ''), a.remote_id "
        "FROM crmsync.arrival a CROSS JOIN unnest(a.records) AS r(record) "
        "WHERE a.mailbox = ANY ($1) AND a.records && $2::text[] AND NOT EXISTS (SELECT FROM "
        "unnest($1::integer[], $3::text[]) AS u(mailbox, id) "
        "WHERE u.mailbox = a.mailbox AND u.id = a.remote_id)",
        &mailboxes, &records, &ids);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        rivals_[{static_cast<int>(rows.integer(row, 0)), rows.string(row, 1)}].emplace(
            rows.string(row, 2), rows.string(row, 3));
    }
}

// In the order of their keys.
std::vector<std::string> Matcher::records_of(const ItemToMatch& item,
                                             const std::string& key) const {
    std::vector<std::string> records;
    const auto found = records_.find(key);
    if (!key.empty() && found != records_.end()) {
        std::copy_if(found->second.begin(), found->second.end(), std::back_inserter(records),
                     [&](const std::string& record) { return belongs(record, item); });
    }
    std::sort(records.begin(), records.end(), is_lower);
    return records;
}

// The oldest item is of the record with the lowest key, the next one of the next.
ItemMatch Matcher::take_oldest(const ItemToMatch& item,
                               const std::vector<std::string>& records) const {
    std::vector<std::string> free;
    std::copy_if(records.begin(), records.end(), std::back_inserter(free),
                 [&](const std::string& record) { return is_free(record, item.mailbox); });
    if (free.empty()) {
        return {{},
                "record " + records.front() + " matches, and has another item in the mailbox",
                records};
    }
    const std::set<Age>& rivals = rivals_.at({item.mailbox, free.front()});
    const auto place = static_cast<std::size_t>(
        std::distance(rivals.begin(), rivals.find({item.created, item.id})));
    if (place < free.size()) {
        return {free[place], {}, {}};
    }
    return {{}, "record " + free.back() + " matches an older item of the mailbox, too", records};
}

// Nothing: no record has this key.
ItemMatch Matcher::match_by_key(const ItemToMatch& item) const {
    if (belongs(item.key, item)) {
        if (is_free(item.key, item.mailbox)) {
            return {item.key, {}, {}};
        }
        return {
            {},
            "it bears the key of record " + item.key + ", which has another item in the mailbox",
            {item.key}};
    }
    if (audience_.contains(item.key) || elsewhere_.contains(item.key)) {
        return {{},
                "it bears the key of record " + item.key + ", which does not belong in the mailbox",
                {item.key}};
    }
    return {};
}

ItemMatch Matcher::match(const ItemToMatch& item, const std::string& key) const {
    const Known& known = known_.at({item.mailbox, item.id});
    if (known.choice != "new" && belongs(known.choice, item) &&
        is_free(known.choice, item.mailbox)) {
        return {known.choice, {}, {}};
    }
    if (known.choice != "new" && !item.key.empty()) {
        ItemMatch by_key = match_by_key(item);
        if (!by_key.record.empty() || !by_key.problem.empty()) {
            return by_key;
        }
    }
    std::vector<std::string> records = records_of(item, key);
    if (records.empty() || known.choice == "new") {
        return {};
    }
    if (!known.met) {
        return {.record = {}, .problem = {}, .records = std::move(records), .waits = true};
    }
    if (link_.takes_oldest) {
        return take_oldest(item, records);
    }
    std::string problem;
    if (records.size() > 1) {
        problem = "records " + records[0] + " and " + records[1] + " match the item";
    } else if (!is_free(records.front(), item.mailbox)) {
        problem = "record " + records.front() + " matches, and has another item in the mailbox";
    } else if (rivals_.at({item.mailbox, records.front()}).size() > 1) {
        problem = "record " + records.front() + " matches several items of the mailbox";
    } else {
        return {std::move(records.front()), {}, {}};
    }
    return {{}, std::move(problem), std::move(records)};
}

std::vector<ItemMatch> Matcher::match(const std::vector<ItemToMatch>& items) {
    std::vector<const record::Values*> values;
    values.reserve(items.size());
    for (const ItemToMatch& item : items) {
        values.push_back(item.values);
    }
    const std::vector<std::string> keys = keys_of(values);
    wanted_.insert(keys.begin(), keys.end());
    wanted_.erase(std::string());
    find_known(items);
    read_audience(items);
    if (!wanted_.empty()) {
        find_records();
    }
    find_keyed(items);
    find_taken(items);
    find_rivals(items, keys);
    std::vector<ItemMatch> matches;
    for (std::size_t i = 0; i < items.size(); ++i) {
        matches.push_back(match(items[i], keys[i]));
        if (known_.at({items[i].mailbox, items[i].id}).choice != "new") {
            matches.back().key = keys[i];
        }
    }
    return matches;
}

// Also where nothing matches: an item may be what its record had there before, or a copy of it.
void leave_to_users(const std::vector<ItemToMatch>& items, std::vector<ItemMatch>& matches) {
    const auto [mailboxes, ids] = names_of(items);
    const pg::Rows rows = pg::query(
        "SELECT u.place FROM unnest($1::integer[], $2::text[]) WITH ORDINALITY "
        "AS u(mailbox, id, place) JOIN crmsync.conflict c ON c.mailbox = u.mailbox "
        "AND c.item = u.id AND c.kind = 'ambiguous' AND c.choice = 'leave'",
        &mailboxes, &ids);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        ItemMatch& match = matches[static_cast<std::size_t>(rows.integer(row, 0)) - 1];
        match = {};
        match.left = true;
    }
}

}  // namespace

std::vector<ItemMatch> match_items(const LinkConfiguration& link,
                                   const std::vector<ItemToMatch>& items) {
    if (items.empty()) {
        return {};
    }
    std::vector<ItemMatch> matches =
        link.match_on.empty() ? std::vector<ItemMatch>(items.size()) : Matcher(link).match(items);
    leave_to_users(items, matches);
    return matches;
}

}  // namespace crmsync
