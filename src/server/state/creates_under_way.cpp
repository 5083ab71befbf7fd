#include "server/state/creates_under_way.h"

#include <utility>
#include <vector>

#include "server/postgres/query.h"
#include "server/postgres/transaction.h"
#include "server/state/late_creates.h"

namespace crmsync {

void CreatesUnderWay::inherit() {
    if (std::exchange(has_inherited_, true)) {
        return;
    }
    pg::Transaction transaction("looking for creates under way");
    const pg::Rows rows = pg::query("SELECT id FROM crmsync.mailbox WHERE look_again = 'infinity'");
    std::vector<int> mailboxes;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        mailboxes.push_back(static_cast<int>(rows.integer(row, 0)));
    }
    look_again_later(mailboxes);
    transaction.commit();
}

void CreatesUnderWay::begin(const std::set<int>& mailboxes) {
    if (!mailboxes.empty()) {
        const pg::IntegerArray ids(mailboxes.begin(), mailboxes.end());
        pg::query(
            "UPDATE crmsync.mailbox SET look_again = 'infinity' WHERE id = ANY ($1) "
            "AND look_again IS NULL",
            &ids);
        noted_.insert(mailboxes.begin(), mailboxes.end());
    }
}

void CreatesUnderWay::end(const std::function<bool(int)>& busy) {
    pg::IntegerArray ended;
    std::erase_if(noted_, [&](int mailbox) {
        if (busy(mailbox)) {
            return false;
        }
        ended.push_back(mailbox);
        return true;
    });
    if (ended.empty() && noted_.empty()) {
        return;
    }
    pg::Transaction transaction("looking for creates that have ended");
    if (!ended.empty()) {
        pg::query(
            "UPDATE crmsync.mailbox SET look_again = NULL WHERE id = ANY ($1) "
            "AND look_again = 'infinity'",
            &ended);
    }
    begin(std::set<int>(noted_));
    transaction.commit_lazily();
}

}  // namespace crmsync
