// Other imports that say of the same rows, in the same column, who is enabled: each reads its part
// of a directory, and who has left one part may have come to another.
#pragma once

#include "server/import/directory_link.h"
#include "server/postgres/boundary.h"
#include "server/postgres/parameters.h"

namespace crmsync {

class OtherImports {
  public:
    static OtherImports read(const DirectoryLink& link);

    // The same; to the end of the current transaction none of them, nor this link itself, takes up
    // or lets go anybody. Throws Busy when somebody keeps their mailboxes for long, who may be
    // about to drop one of the links.
    static OtherImports hold(const DirectoryLink& link);
    struct Busy {
        pg::Error error;
    };

    // Those of these records that none of them knows, as far as they are enabled.
    pg::TextArray without_known(const pg::TextArray& records) const;

    // This link was the last to let these go. Whoever had let one of them go before, because he
    // had only moved, has yet to do by its own policy what it left undone; and whoever meets one
    // again must not find him unchanged.
    void reconsider(const pg::TextArray& records) const;

  private:
    OtherImports() = default;

    pg::BigintArray mailboxes_;
    pg::BigintArray enabled_;  // of these, the mailboxes of enabled links
};

}  // namespace crmsync
