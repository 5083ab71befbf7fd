// A transaction of a background worker.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/postgres/boundary.h"

namespace crmsync::pg {

// Somebody drops or alters the extension right now, or it is of a version that this engine does not
// serve: the worker gives way.
struct ExtensionBusy {};

// Opens a transaction, which is rolled back unless commit() was called. It holds a lock on the
// extension, got without waiting and before any other, so that DROP EXTENSION waits for its end
// before it locks anything itself: neither can meet the other in a deadlock. Throws Error, and
// ExtensionBusy when the lock is not to be had, there is no extension any more, or it is not the
// engine's.
class Transaction {
  public:
    enum class Isolation {
        read_committed,
        repeatable_read  // all statements see the same snapshot
    };
    using enum Isolation;

    // activity: what pg_stat_activity shows meanwhile.
    explicit Transaction(std::string_view activity, Isolation isolation = repeatable_read);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    // Waits until the commit is durable, whatever synchronous_commit says. Throws Error; the
    // transaction is then rolled back.
    void commit();

    // The same of all that it has seen of others, who may not have waited for that: what goes out
    // rests on it, and must not be ahead of the database after a crash.
    void commit_all_seen();

    // Does not wait for the disk: for what can be found out again after a crash.
    void commit_lazily();

    // The same of changes to the CRM: what goes out may rest on them before they are found out
    // again, and so commit_all_seen waits for them as for those of others.
    void commit_changes_lazily();

  private:
    struct WithoutExtension {};
    Transaction(std::string_view activity, WithoutExtension);
    friend std::optional<std::string> extension_version();
    void start(std::string_view activity, Isolation isolation);
    void end();
    void finish() noexcept;
    bool open_ = false;
};

// The version of the SQL objects of this database, if it has the extension; in a transaction of its
// own.
std::optional<std::string> extension_version();

// Whether this engine works with SQL objects of that version: with its own.
bool serves(std::string_view version);

// Shows in pg_stat_activity what the worker does outside transactions.
void report_idle(std::string_view activity);

}  // namespace crmsync::pg
