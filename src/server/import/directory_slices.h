// Work on many rows of which some may fail: it is done in slices, with a transaction each, and a
// slice that a row of it makes fail is halved until that row is alone. The others go on. A row that
// somebody else has locked counts as one that fails: he may be in no hurry.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "server/postgres/boundary.h"

namespace crmsync {

// From begin to before end: whatever the work numbers its rows by.
struct Slice {
    std::int64_t begin;
    std::int64_t end;
    bool empty() const noexcept { return begin == end; }
};

struct SlicedWork {
    // Does it, in a transaction of its own. An empty slice asks whether it could be done at all:
    // the same statements then run over no row. Throws pg::Error.
    std::function<void(Slice)> run;
    // The one row of this slice cannot be done.
    std::function<void(Slice, const pg::Error&)> fail;
};

// In no transaction. Throws what is not due to one row.
void run_halved(Slice slice, const SlicedWork& work);

// Whether an error may come from what one row holds, and others may well pass. What speaks of the
// server's state, or of names and types that every row needs, does not.
bool may_be_about_one_row(const pg::Error& error);

// ---- slices of a temporary table: rows are numbered by where they lie

// Some ten thousand rows in each: bounds what a transaction locks, and the memory of the checks
// that PostgreSQL queues up for a statement's foreign keys. In no transaction.
void for_each_slice(std::int64_t blocks, const std::function<void(Slice)>& work);

// " AND alias.ctid >= ... AND ..." as constants: planned for what it is, a slice is joined at the
// cost of what it holds.
std::string lies_within(const std::string& alias, Slice slice);

// The address of the first row.
std::string first_row(Slice slice);

}  // namespace crmsync
