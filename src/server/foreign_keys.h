// Foreign keys of our own tables, where one lock on the rows that they all lead to says what
// checking them row by row would.
#pragma once

namespace crmsync {

// For the rest of the current transaction, or until it is called again.
void check_foreign_keys(bool on);

}  // namespace crmsync
