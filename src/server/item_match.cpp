#include "server/item_match.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "server/comparable_text.h"
#include "server/desired_record.h"
#include "server/query.h"
#include "server/record_facts.h"

namespace crmsync {

namespace {

// Records whose values are read together.
constexpr std::size_t slice = 1000;

constexpr char separator = '\x1f';

class Matcher {
  public:
    Matcher(const Configuration& configuration, const LinkConfiguration& link)
        : configuration_(configuration),
          link_(link),
          comparable_("SELECT " + comparable_text("u.value") +
                      " FROM unnest($1::text[]) WITH ORDINALITY AS u(value, place) "
                      "ORDER BY u.place") {}

    std::vector<ItemMatch> match(const std::vector<ItemToMatch>& items);

  private:
    std::vector<std::string> keys_of(const std::vector<const record::Values*>& all) const;
    void read_audience(const std::vector<ItemToMatch>& items);
    void find_records();
    void find_taken(const std::vector<ItemToMatch>& items);
    ItemMatch match(const ItemToMatch& item, const std::string& key) const;

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    std::string comparable_;
    std::map<std::string, int> wanted_;  // keys, with how many items of one mailbox have each
    std::map<std::string, std::set<std::string>> audience_;    // record: addresses
    std::map<std::string, std::vector<std::string>> records_;  // key: records
    std::set<std::pair<std::string, int>> taken_;  // records that have an item in a mailbox
};

std::vector<std::string> Matcher::keys_of(const std::vector<const record::Values*>& all) const {
    pg::NullableTextArray values;
    for (const record::Values* one : all) {
        for (const std::size_t place : link_.match_on) {
            values.push_back((*one)[place]);
        }
    }
    const pg::Rows rows = pg::query(comparable_, &values);
    std::vector<std::string> keys(all.size());
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        std::string& key = keys[static_cast<std::size_t>(row) / link_.match_on.size()];
        key += rows.text(row, 0);
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
        const pg::Rows rows = pg::query_as(link_.owner, link_.source_query, &keys);
        std::vector<DesiredRecord> read;
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            DesiredRecord one =
                desired_record(configuration_, link_, rows.string(row, 0), rows, row);
            if (one.problem.empty()) {
                read.push_back(std::move(one));
            }
        }
        std::vector<const record::Values*> values;
        values.reserve(read.size());
        for (const DesiredRecord& one : read) {
            values.push_back(&one.desired->values);
        }
        const std::vector<std::string> found = keys_of(values);
        for (std::size_t i = 0; i < read.size(); ++i) {
            if (wanted_.contains(found[i])) {
                records_[found[i]].push_back(read[i].desired->key);
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
    }
    const pg::Rows rows =
        pg::query("SELECT i.record, i.mailbox FROM " + for_each_record("crmsync.item") +
                      " WHERE i.mailbox = ANY ($3)",
                  link_.id, &records, &mailboxes);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        taken_.emplace(rows.string(row, 0), static_cast<int>(rows.integer(row, 1)));
    }
}

ItemMatch Matcher::match(const ItemToMatch& item, const std::string& key) const {
    const auto found = records_.find(key);
    if (key.empty() || found == records_.end()) {
        return {};
    }
    std::vector<std::string> records;
    for (const std::string& record : found->second) {
        if (link_.audience_query.empty() || audience_.at(record).contains(item.address)) {
            records.push_back(record);
        }
    }
    if (records.empty()) {
        return {};
    }
    std::string problem;
    if (records.size() > 1) {
        problem = "records " + records[0] + " and " + records[1] + " match the item";
    } else if (taken_.contains({records.front(), item.mailbox})) {
        problem = "record " + records.front() + " matches, and has another item in the mailbox";
    } else if (wanted_.at(key) > 1) {
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
    std::map<std::pair<std::string, int>, int> in_one_mailbox;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (!keys[i].empty()) {
            int& most = wanted_[keys[i]];
            most = std::max(most, ++in_one_mailbox[{keys[i], items[i].mailbox}]);
        }
    }
    if (!wanted_.empty()) {
        read_audience(items);
        find_records();
        find_taken(items);
    }
    std::vector<ItemMatch> matches;
    for (std::size_t i = 0; i < items.size(); ++i) {
        matches.push_back(match(items[i], keys[i]));
    }
    return matches;
}

}  // namespace

std::vector<ItemMatch> match_items(const Configuration& configuration,
                                   const LinkConfiguration& link,
                                   const std::vector<ItemToMatch>& items) {
    if (link.match_on.empty() || items.empty()) {
        return std::vector<ItemMatch>(items.size());
    }
    return Matcher(configuration, link).match(items);
}

}  // namespace crmsync
