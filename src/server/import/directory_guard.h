// The guard of an import: what follows from absence waits when it is much, since a wrong base or
// attribute makes everybody look gone, or disabled.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/import/directory_link.h"

namespace crmsync {

// What follows from absence, and passes the guard: each kind by itself.
enum class Absence { vanished, disabled, memberships };

struct Held {
    Absence kind;
    std::int64_t count;
};

enum class Passage {
    held,
    allowed,   // as long as what is done is counted, with count_deletes()
    confirmed  // by somebody, and not counted
};

// Whether deletes of one kind pass; what does not is added to held. Requires a transaction. count
// is how many are meant, of how many.
Passage judge_deletes(const DirectoryLink& link, Absence kind, std::int64_t count, std::int64_t of,
                      std::vector<Held>& held);

// Counts what is done in the current transaction.
void count_deletes(const DirectoryLink& link, Passage passage, std::int64_t count);

// Notes, at the end of a complete run, what it held back: for confirm_deletes, and in words for the
// views. Returns the words; empty: nothing. Requires a transaction.
std::string note_held(const DirectoryLink& link, const std::vector<Held>& held);

}  // namespace crmsync
