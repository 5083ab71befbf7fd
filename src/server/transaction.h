// A transaction of a background worker.
#pragma once

#include <string_view>

#include "server/boundary.h"

namespace crmsync::pg {

// Opens a transaction and a snapshot; is rolled back unless commit() was called.
class Transaction {
  public:
    enum class Isolation {
        read_committed,
        repeatable_read  // all statements see the same snapshot
    };

    // activity: what pg_stat_activity shows meanwhile.
    explicit Transaction(std::string_view activity,
                         Isolation isolation = Isolation::repeatable_read);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    // Waits until the commit is durable. Throws Error; the transaction is then rolled back.
    void commit();

    // Does not wait for the disk: for what can be found out again after a crash.
    void commit_lazily();

  private:
    void finish() noexcept;
    bool open_ = false;
};

// Shows in pg_stat_activity what the worker does outside transactions.
void report_idle(std::string_view activity);

}  // namespace crmsync::pg
