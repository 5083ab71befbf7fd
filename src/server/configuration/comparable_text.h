// The form in which texts are compared that people take to be the same: neither case, nor white
// space, nor how a character is written makes a difference, and what nobody sees does not count.
#pragma once

#include <string>

namespace crmsync {

// SQL for the form of an SQL expression of type text; of NULL it is ''. It never holds the
// character U+001F. Requires a transaction.
std::string comparable_text(const std::string& expression);

}  // namespace crmsync
