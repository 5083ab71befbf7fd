// Other imports that say of the same rows, in the same column, who is enabled: each reads its part
// of a directory, and who has left one part may have come to another.
#pragma once

#include "server/directory_link.h"
#include "server/parameters.h"

namespace crmsync {

class OtherImports {
  public:
    // In the current transaction, to whose end none of them, nor one of these links itself, takes
    // up or lets go anybody.
    static OtherImports hold(const DirectoryLink& link);

    // Those of these records that none of them knows.
    pg::TextArray without_known(const pg::TextArray& records) const;

  private:
    explicit OtherImports(pg::BigintArray mailboxes) : mailboxes_(std::move(mailboxes)) {}

    pg::BigintArray mailboxes_;
};

}  // namespace crmsync
