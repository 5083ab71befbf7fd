#include "server/postgres/statistics.h"

#include <string>
#include <vector>

#include "server/postgres/query.h"
#include "server/postgres/transaction.h"

namespace crmsync {

namespace {

// A table that has become so many times as large, and is larger than so many pages: below, all
// ways of reading it are short.
constexpr int growth = 4;
constexpr int small_table = 8;

const std::string outgrown =
    "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c "
    "WHERE c.relnamespace = 'crmsync'::regnamespace AND c.relname = ANY ("
    "'{item,pending,waiting,undoing,failure,mailbox,arrival,listed,sighting}') "
    "AND pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint "
    "> $1 * greatest(c.relpages, $2)";

}  // namespace

void renew_statistics() {
    pg::Transaction transaction("looking at statistics", pg::Transaction::read_committed);
    const pg::Rows rows = pg::query(outgrown, growth, small_table);
    if (!rows.empty()) {
        pg::query("SET LOCAL default_statistics_target = 10", {}, {.once = true});
    }
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        pg::query("ANALYZE (SKIP_LOCKED) " + rows.string(row, 0), {}, {.once = true});
    }
    transaction.commit_lazily();
}

}  // namespace crmsync
