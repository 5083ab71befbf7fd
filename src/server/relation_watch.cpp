#include "server/relation_watch.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "server/boundary.h"
#include "server/query.h"

extern "C" {
#include "utils/inval.h"
}

namespace crmsync {

namespace {

std::vector<Oid> watched;
bool any_counts = true;  // which they are is being read
bool changed = true;

void note_change(Datum, Oid relation) {
    changed = changed || any_counts || !OidIsValid(relation) ||
              std::find(watched.begin(), watched.end(), relation) != watched.end();
}

}  // namespace

void begin_watching_relations() {
    static bool registered = false;
    if (!registered) {
        pg::guard([] { CacheRegisterRelcacheCallback(note_change, Datum{0}); });
        registered = true;
    }
    any_counts = true;
    changed = false;
}

void watch_relations_served() {
    const pg::Rows rows = pg::query(
        "SELECT r.relation::oid FROM crmsync.served s "
        "JOIN crmsync.link l ON l.id = s.link CROSS JOIN LATERAL ("
        "VALUES (pg_catalog.to_regclass(l.source)), (pg_catalog.to_regclass(l.audience)), "
        "(pg_catalog.to_regclass(l.mailboxes)) UNION ALL "
        "SELECT crmsync.child_relation(c.child)::pg_catalog.regclass "
        "FROM crmsync.children(l.id) c) AS r(relation) WHERE r.relation IS NOT NULL");
    watched.clear();
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        watched.push_back(static_cast<Oid>(rows.integer(row, 0)));
    }
    any_counts = false;
}

bool relations_changed() noexcept {
    return changed;
}

}  // namespace crmsync
