// Writes rows of the CRM many at a time, and divides them until those stand alone that it refuses.
//
// The rows themselves have been taken without waiting, but what the CRM's triggers write somebody
// else may have locked. To wait for him with each row anew would keep the worker from all others.
// So once that has cost time the rows are tried one by one, hardly waiting any more, and not for
// long; then those of the link rest, and the worker turns to others.
#pragma once

#include <cstddef>
#include <functional>

#include "server/configuration/configuration.h"

namespace crmsync {

struct RowsToWrite {
    std::size_t count;
    bool together;  // else one at a time from the start
    // Throws pg::Error. Called in a subtransaction.
    std::function<void(std::size_t first, std::size_t count)> write;
    // A row that was not written. ERRCODE_LOCK_NOT_AVAILABLE: not now.
    std::function<void(std::size_t row, const pg::Error& error)> refuse;
    // Those that were, when nothing takes that back any more.
    std::function<void(std::size_t first, std::size_t count)> note = [](std::size_t, std::size_t) {
    };
};

// In the current transaction.
void write_divided(const LinkConfiguration& link, const RowsToWrite& rows);

// Whether all rows of the link would be refused for the moment: whoever would do much to find out
// what they are to be comes back later.
bool writes_rest(const LinkConfiguration& link);

}  // namespace crmsync
