#include "server/state/links_at_hand.h"

#include "server/postgres/query.h"

namespace crmsync {

std::string links_at_hand(const std::string& concerned) {
    return "at_hand AS MATERIALIZED (SELECT l.id FROM crmsync.link l WHERE l.id IN "
           "(SELECT c.link FROM " +
           concerned + " c) FOR KEY SHARE SKIP LOCKED) ";
}

std::set<int> links_being_removed(const std::set<int>& links) {
    const pg::IntegerArray ids(links.begin(), links.end());
    const pg::Rows rows =
        pg::query("WITH concerned AS (SELECT u.link FROM unnest($1::integer[]) AS u(link)), " +
                      links_at_hand("concerned") +
                      "SELECT l.id FROM crmsync.link l WHERE l.id = ANY ($1) "
                      "AND l.id NOT IN (SELECT h.id FROM at_hand h)",
                  &ids);
    std::set<int> removed;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        removed.insert(static_cast<int>(rows.integer(row, 0)));
    }
    return removed;
}

}  // namespace crmsync
