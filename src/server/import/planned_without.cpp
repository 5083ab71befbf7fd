#include "server/import/planned_without.h"

#include <string_view>

#include "server/postgres/query.h"

namespace crmsync {

namespace {

void set(PlanStep step, std::string_view state) {
    pg::query(
        "SELECT pg_catalog.set_config($1, $2, true)",
        std::string_view(step == PlanStep::nested_loop ? "enable_nestloop" : "enable_seqscan"),
        state);
}

}  // namespace

PlannedWithout::PlannedWithout(PlanStep step) : step_(step) {
    set(step, "off");
}

void PlannedWithout::end() const {
    set(step_, "on");
}

}  // namespace crmsync
