// What an import could not do for single entries and users, as crmsync.failures shows it.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "server/import/directory_link.h"
#include "server/postgres/boundary.h"

namespace crmsync {

// After so many rows of one kind failed one by one, something is wrong with all of them: the work
// on the others is given up, which is thrown as GivenUp.
constexpr std::int64_t most_failures = 1000;
struct GivenUp {};

class DirectoryFailures {
  public:
    // The link must outlive it.
    explicit DirectoryFailures(const DirectoryLink& link) : link_(link) {}

    // In the current transaction. record: its key, or the DN of an entry that has none.
    void write(const std::string& record, const std::string& code, const std::string& message);

    // The same in a transaction of its own.
    void write(const std::string& record, const pg::Error& error);

    // Entries that were refused before anything was done for them; in the current transaction.
    // Returns how many.
    std::int64_t write_problems();

    // Takes away failures of earlier runs that no longer are. Requires a transaction.
    void settle() const;

    // How many entries and users.
    std::int64_t count() const noexcept { return static_cast<std::int64_t>(records_.size()); }

  private:
    const DirectoryLink& link_;
    std::set<std::string> records_;
};

}  // namespace crmsync
