#include "server/state/late_creates.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>

#include "server/postgres/jsonb_fields.h"
#include "server/postgres/preload.h"

namespace crmsync {

std::int64_t longest_delay() {
    return std::int64_t{1000} * preload().max_create_delay();
}

bool is_late(std::int64_t attempt, std::int64_t other) {
    const bool in_doubt = attempt % 2 != 0 || other % 2 != 0;
    return in_doubt && attempt != 0 && other != 0 && attempt != other &&
           std::abs(attempt - other) <= longest_delay();
}

record::Layout compared_of(const record::Layout& layout) {
    record::Layout compared;
    std::copy_if(layout.begin(), layout.end(), std::back_inserter(compared),
                 [](const record::Property* property) { return property->compared; });
    return compared;
}

record::Values values_of(const record::Layout& wanted, const record::Layout& layout,
                         const record::Values& values) {
    record::Values result;
    for (const record::Property* property : wanted) {
        result.push_back(values[record::place_of(layout, property).value()]);
    }
    return result;
}

bool holds_the_same(const LinkConfiguration& link, const Jsonb* shadow, const sync::Outcome& item) {
    const record::Layout compared = compared_of(link.rules.layout);
    return shadow != nullptr && item.held.unread.empty() &&
           read_values(shadow, compared) ==
               values_of(compared, link.rules.layout, item.held.values);
}

// That it holds something else than the other one counts for a user who was quick, unless the
// server says that it is as it was made.
bool is_untouched(const sync::Outcome& item, bool same) {
    const auto after = exchange::changed_after(item.held);
    return after && *after <= (same ? exchange::server_at_work : std::chrono::seconds{0});
}

void look_again_later(const std::vector<int>& mailboxes) {
    if (!mailboxes.empty()) {
        const pg::IntegerArray ids(mailboxes.begin(), mailboxes.end());
        pg::query(
            "UPDATE crmsync.mailbox SET look_again = pg_catalog.clock_timestamp() "
            "+ $2 * interval '1 microsecond' WHERE id = ANY ($1)",
            &ids, longest_delay());
    }
}

}  // namespace crmsync
