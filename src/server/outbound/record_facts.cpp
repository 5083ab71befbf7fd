#include "server/outbound/record_facts.h"

#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "server/configuration/participants.h"
#include "server/configuration/record_key.h"
#include "server/postgres/divided_reading.h"
#include "server/postgres/jsonb_fields.h"
#include "server/postgres/query.h"
#include "server/state/loops.h"
#include "server/state/may_be_asked.h"
#include "server/state/refused_values.h"

namespace crmsync {

namespace {

class FactReader {
  public:
    FactReader(const Configuration& configuration, const LinkConfiguration& link,
               NewMailboxes new_mailboxes, std::uint64_t most_pairs)
        : configuration_(configuration),
          link_(link),
          new_mailboxes_(new_mailboxes),
          most_pairs_(most_pairs) {}

    Facts read(PendingRecords&& records);

  private:
    pg::Rows read_pairs(std::string_view sql, std::span<const pg::Parameter> parameters,
                        Oid owner) const;
    void divide(bool RecordFacts::*unknown, const std::function<void(const pg::TextArray&)>& read);
    void read_audience();
    void read_audience(const pg::TextArray& keys, pg::TextArray& addresses);
    MailboxFacts* mailbox_by_address(const std::string& address);
    void read_mailboxes(const pg::TextArray& addresses, const pg::IntegerArray& ids);
    void read_items();
    void read_participants();
    void note_absentees() const;
    void add_mailboxes();
    void read_source(const pg::TextArray& keys);
    void read_failures();
    void read_undecided();

    const Configuration& configuration_;
    const LinkConfiguration& link_;
    NewMailboxes new_mailboxes_;
    std::uint64_t most_pairs_;
    Facts facts_;
    pg::TextArray keys_;
    std::vector<Participant> participants_;
    std::unordered_map<int, MailboxFacts*> mailboxes_by_id_;
};

Facts FactReader::read(PendingRecords&& records) {
    for (auto& [key, rows] : records) {
        RecordFacts& record = facts_.records[key];
        for (const sync::PendingRow& row : rows) {
            record.fresh |= row.tier == 0;
            record.compared |= row.tier == 1;
        }
        record.rows = std::move(rows);
        keys_.push_back(key);
    }
    if (keys_.size() == 1) {
        most_pairs_ = 0;
    }
    if (!link_.mailboxes_query.empty()) {  // first: a mailbox may have another address by now
        participants_ = participants(
            link_, new_mailboxes_ == NewMailboxes::stored ? Renames::noted : Renames::ignored);
    }
    if (!link_.audience_query.empty()) {
        read_audience();
    }
    read_items();
    read_participants();
    add_mailboxes();
    divide(&RecordFacts::unreadable, [&](const pg::TextArray& keys) { read_source(keys); });
    read_failures();
    if (!link_.match_on.empty()) {
        read_undecided();
    }
    return std::move(facts_);
}

MailboxFacts* FactReader::mailbox_by_address(const std::string& address) {
    MailboxFacts& mailbox = facts_.mailboxes[address];
    mailbox.address = address;
    return &mailbox;
}

pg::Rows FactReader::read_pairs(std::string_view sql, std::span<const pg::Parameter> parameters,
                                Oid owner) const {
    const std::uint64_t most_rows = most_pairs_ == 0 ? 0 : most_pairs_ + 1;
    pg::Rows rows = pg::query(sql, parameters, {.owner = owner, .most_rows = most_rows});
    if (most_pairs_ > 0 && rows.size() > most_pairs_) {
        throw TooManyPairs();
    }
    return rows;
}

void FactReader::divide(bool RecordFacts::*unknown,
                        const std::function<void(const pg::TextArray&)>& read) {
    read_divided(keys_, read, [&](const std::string& key, const pg::Error& error) {
        RecordFacts& record = facts_.records.at(key);
        record.*unknown = true;
        record.unreadable = true;
        record.code = error.code();
        record.problem = error.message;
    });
}

void FactReader::read_audience() {
    pg::TextArray addresses;
    divide(&RecordFacts::audience_unreadable,
           [&](const pg::TextArray& keys) { read_audience(keys, addresses); });
    read_mailboxes(addresses, {});
}

void FactReader::read_audience(const pg::TextArray& keys, pg::TextArray& addresses) {
    const pg::Parameter parameters[] = {&keys};
    const pg::Rows rows = read_pairs(link_.audience_query, parameters, link_.owner);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto record = facts_.records.find(rows.string(row, 0));
        if (record == facts_.records.end()) {
            continue;
        }
        const std::string address = rows.string(row, 1);
        if (address.size() > longest_address) {
            continue;
        }
        if (!facts_.mailboxes.contains(address)) {
            addresses.push_back(address);
        }
        record->second.copies[mailbox_by_address(address)].in_audience = true;
    }
}

void FactReader::read_mailboxes(const pg::TextArray& addresses, const pg::IntegerArray& ids) {
    const pg::Rows rows = pg::query(
        "SELECT m.id, m.address, " + may_be_asked +
            ", coalesce(m.code, ''), coalesce(m.message, ''), m.met IS NOT NULL, "
            "m.started IS NOT NULL, m.moved IS NOT NULL OR coalesce(m.code = 'MOVING', false) "
            "FROM crmsync.mailbox m "
            "WHERE m.link = $1 AND (m.address = ANY ($2) OR m.id = ANY ($3))",
        link_.id, &addresses, &ids);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        MailboxFacts* mailbox = mailbox_by_address(rows.string(row, 1));
        mailbox->id = static_cast<int>(rows.integer(row, 0));
        mailbox->available = rows.boolean(row, 2);
        mailbox->code = rows.string(row, 3);
        mailbox->message = rows.string(row, 4);
        mailbox->met = rows.boolean(row, 5) || link_.match_on.empty();
        mailbox->started = rows.boolean(row, 6);
        mailbox->moving = rows.boolean(row, 7);
        mailboxes_by_id_[mailbox->id] = mailbox;
    }
}

void FactReader::read_items() {
    const pg::Parameter parameters[] = {link_.id, &keys_};
    const pg::Rows rows = read_pairs(
        "SELECT i.record, i.mailbox, coalesce(i.remote_id, ''), coalesce(i.change_key, ''), "
        "i.shadow, i.origin, i.state, i.confirmed, i.stamped, i.renew, i.doubtful FROM " +
            for_each_record("crmsync.item"),
        parameters, InvalidOid);
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
        MailboxFacts* mailbox = mailboxes_by_id_.at(static_cast<int>(rows.integer(row, 1)));
        sync::KnownItem item;
        item.reference = {rows.string(row, 2), rows.string(row, 3)};
        if (!rows.is_null(row, 4)) {
            item.shadow = read_values(rows.jsonb(row, 4), link_.rules.layout);
        }
        item.origin = rows.text(row, 5) == "crm"       ? sync::Origin::crm
                      : rows.text(row, 5) == "adopted" ? sync::Origin::adopted
                                                       : sync::Origin::mailbox;
        item.leaving = rows.text(row, 6) == "leaving";
        item.renew = rows.boolean(row, 9);
        item.gone = rows.text(row, 6) == "gone";
        item.removed = rows.text(row, 6) == "removed";
        item.absent = item.removed || rows.text(row, 6) == "absent";
        item.unlinked = rows.text(row, 6) == "unlinked";
        item.stamped = rows.boolean(row, 8);
        item.doubtful = rows.boolean(row, 10);
        CopyFacts& copy = facts_.records.at(rows.string(row, 0)).copies[mailbox];
        copy.in_audience |= link_.audience_query.empty();  // where it is it belongs
        copy.item = std::move(item);
        copy.confirmed = rows.boolean(row, 7);
        copy.item->confirmed = copy.confirmed;
    }
}

// Nothing is done in mailboxes that do not take part.
void FactReader::read_participants() {
    if (link_.mailboxes_query.empty()) {
        return;
    }
    for (auto& [address, mailbox] : facts_.mailboxes) {
        mailbox.takes_part = false;
    }
    for (const Participant& participant : participants_) {
        const auto mailbox = facts_.mailboxes.find(participant.address);
        if (mailbox != facts_.mailboxes.end()) {
            mailbox->second.takes_part = participant.takes_part(mailbox->second.started);
        }
    }
    note_absentees();
}

// When one of them is back it has missed something.
void FactReader::note_absentees() const {
    pg::IntegerArray absent;
    for (const auto& [address, mailbox] : facts_.mailboxes) {
        if (mailbox.id > 0 && !mailbox.takes_part) {
            absent.push_back(mailbox.id);
        }
    }
    if (!absent.empty() && new_mailboxes_ == NewMailboxes::stored) {
        pg::query(
            "UPDATE crmsync.mailbox SET took_part = false WHERE id IN (SELECT m.id "
            "FROM crmsync.mailbox m WHERE m.id = ANY ($1) AND m.took_part IS NOT FALSE "
            "ORDER BY m.id FOR NO KEY UPDATE)",
            &absent);
    }
}

void FactReader::add_mailboxes() {
    pg::TextArray missing;
    for (const auto& [address, mailbox] : facts_.mailboxes) {
        if (mailbox.id == 0 && mailbox.takes_part) {
            missing.push_back(address);
        }
    }
    if (missing.empty()) {
        return;
    }
    if (new_mailboxes_ == NewMailboxes::numbered) {
        int provisional = 0;
        for (const std::string& address : missing) {
            mailbox_by_address(address)->id = --provisional;
        }
        return;
    }
    const pg::Rows rows = crmsync::add_mailboxes(link_, participants_, missing);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        MailboxFacts* mailbox = mailbox_by_address(rows.string(row, 1));
        mailbox->id = static_cast<int>(rows.integer(row, 0));
        mailbox->met = link_.match_on.empty();
        mailboxes_by_id_[mailbox->id] = mailbox;
    }
}

void FactReader::read_source(const pg::TextArray& keys) {
    const pg::Rows rows = pg::query_as(link_.owner, link_.source_query, &keys);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const std::string key = rows.string(row, 0);
        const auto found = facts_.records.find(key);
        if (found == facts_.records.end()) {
            continue;
        }
        RecordFacts& record = found->second;
        DesiredRecord wanted = desired_record(configuration_, link_, key, rows, row);
        record.exists = true;
        record.desired = std::move(wanted.desired);
        record.texts = std::move(wanted.texts);
        if (!wanted.problem.empty()) {
            record.code = std::move(wanted.code);
            record.problem = std::move(wanted.problem);
        }
    }
}

void FactReader::read_failures() {
    const pg::Rows rows = pg::query(
        "SELECT i.record, i.mailbox, "
        "(i.next_attempt IS NULL OR i.next_attempt > pg_catalog.now()) "
        "AND i.code <> 'POSTPONED', i.code, i.message, i.refused FROM " +
            for_each_record("crmsync.failure"),
        link_.id, &keys_);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        RecordFacts& record = facts_.records.at(rows.string(row, 0));
        // What the CRM has changed since, wherever nobody saw it, is tried again at once, unless
        // that is what goes round.
        const std::int64_t refused = rows.integer(row, 5);
        const bool changed = record.fresh || (refused != 0 && record.problem.empty() &&
                                              hash_of_values(record.desired.get()) != refused);
        const bool holds_back =
            rows.boolean(row, 2) && (!changed || rows.text(row, 3) == loop_code);
        const std::string code = rows.string(row, 3);
        record.failures[static_cast<int>(rows.integer(row, 1))] = {
            holds_back, code == "VALUE" || code == "KEY" || concerns_values(code), code,
            rows.string(row, 4)};
    }
}

// Items that may be of several records, or of one that has another, or that are to be a record and
// could not come in.
void FactReader::read_undecided() {
    const pg::Rows rows = pg::query(
        "SELECT r.record, a.mailbox FROM crmsync.mailbox m JOIN crmsync.arrival a "
        "ON a.mailbox = m.id AND a.records IS NOT NULL CROSS JOIN unnest(a.records) AS r(record) "
        "WHERE m.link = $1 AND r.record = ANY ($2)",
        link_.id, &keys_);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const auto mailbox = mailboxes_by_id_.find(static_cast<int>(rows.integer(row, 1)));
        if (mailbox != mailboxes_by_id_.end()) {
            facts_.records.at(rows.string(row, 0)).copies[mailbox->second].may_be_there = true;
        }
    }
}

}  // namespace

std::string for_each_record(const std::string& table) {
    return "unnest($2::text[]) AS u(record) CROSS JOIN LATERAL (SELECT t.* FROM " + table +
           " t WHERE t.link = $1 AND t.record = u.record OFFSET 0) AS i";
}

Facts read_facts(const Configuration& configuration, const LinkConfiguration& link,
                 PendingRecords records, NewMailboxes new_mailboxes, std::uint64_t most_pairs) {
    return FactReader(configuration, link, new_mailboxes, most_pairs).read(std::move(records));
}

}  // namespace crmsync
