// Verdicts on items that change our own tables only.
#pragma once

#include <string>

#include "server/postgres/query.h"

namespace crmsync {

class ItemVerdicts {
  public:
    void leave(const std::string& record, int mailbox) { leave_.add(record, mailbox); }
    void stay(const std::string& record, int mailbox) { stay_.add(record, mailbox); }
    void forget(const std::string& record, int mailbox) { forget_.add(record, mailbox); }
    // Our stamp is about to go; whether it went is not known should the answer be lost.
    void lose_stamp(const std::string& record, int mailbox) { lose_stamp_.add(record, mailbox); }
    // It is about to be written on what was left to its user, and may be there should the answer be
    // lost.
    void gain_stamp(const std::string& record, int mailbox) { gain_stamp_.add(record, mailbox); }
    // It has to be read: what it holds counts.
    void read(const std::string& record, int mailbox) { read_.add(record, mailbox); }
    // An item of its user's that is to be the record's, and could not come in, may do so now; not
    // at once each time, since its own attempt may be what changed the record.
    void come_in(const std::string& record, int mailbox) { come_in_.add(record, mailbox); }
    // What has failed before needs nothing any more.
    void well(const std::string& record, int mailbox) { well_.add(record, mailbox); }

    // Where it belongs cannot be read, and it is nowhere: else nobody would hear of it.
    void belongs_nowhere(const std::string& record, const std::string& code,
                         const std::string& message) {
        nowhere_.add(record, nowhere);
        codes_.push_back(code);
        messages_.push_back(message);
    }
    static constexpr int nowhere = 0;  // the mailbox of such a failure

    // In the current transaction.
    void write(int link) const;

  private:
    struct Pairs {
        pg::TextArray records;
        pg::IntegerArray mailboxes;
        void add(const std::string& record, int mailbox) {
            records.push_back(record);
            mailboxes.push_back(mailbox);
        }
    };
    Pairs leave_;
    Pairs lose_stamp_;
    Pairs gain_stamp_;
    Pairs stay_;
    Pairs forget_;
    Pairs read_;
    Pairs come_in_;
    Pairs well_;
    Pairs nowhere_;
    pg::TextArray codes_;  // of those, and why
    pg::TextArray messages_;
};

}  // namespace crmsync
