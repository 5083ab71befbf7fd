#include "server/configuration/relation_watch.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/postgres/boundary.h"
#include "server/postgres/query.h"

extern "C" {
#include "utils/inval.h"
}

namespace crmsync {

namespace {

std::vector<Oid> watched;
bool changed = true;

// While it is read which relations count, what changes is kept until that is known. Fixed in size,
// since nothing may fail here; beyond that, as many as that count as one of them.
std::array<Oid, 512> met;
std::size_t met_count = 0;
bool reading = true;

bool counts(Oid relation) {
    return std::binary_search(watched.begin(), watched.end(), relation);
}

void note_change(Datum, Oid relation) {
    if (changed) {
        return;
    }
    const auto end = met.begin() + static_cast<std::ptrdiff_t>(met_count);
    if (!reading || !OidIsValid(relation)) {
        changed = !OidIsValid(relation) || counts(relation);
    } else if (std::find(met.begin(), end, relation) == end) {
        changed = met_count == met.size();
        if (!changed) {
            met[met_count++] = relation;
        }
    }
}

}  // namespace

void begin_watching_relations() {
    static bool registered = false;
    if (!registered) {
        pg::guard([] { CacheRegisterRelcacheCallback(note_change, Datum{0}); });
        registered = true;
    }
    reading = true;
    met_count = 0;
    changed = false;
}

void watch_relations_served() {
    const pg::Rows rows = pg::query(
        "SELECT DISTINCT r FROM crmsync.served s CROSS JOIN crmsync.relations_read(s.link) r "
        "ORDER BY 1");
    watched.clear();
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        watched.push_back(static_cast<Oid>(rows.integer(row, 0)));
    }
    reading = false;
    changed |=
        std::any_of(met.begin(), met.begin() + static_cast<std::ptrdiff_t>(met_count), counts);
}

bool relations_changed() noexcept {
    return changed || reading;  // what has begun and not ended, ended in an error
}

}  // namespace crmsync
