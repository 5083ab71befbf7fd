#include "server/state/refused_values.h"

#include <string>

#include "server/postgres/boundary.h"

extern "C" {
#include "common/hashfn.h"
}

namespace crmsync {

std::int64_t hash_of_values(const sync::Desired* desired) {
    if (desired == nullptr) {
        return 0;
    }
    std::string text;
    for (const record::Value& value : desired->values) {
        text += value ? std::to_string(value->size()) + ":" + *value : ",";
    }
    return static_cast<std::int64_t>(hash_bytes_extended(
        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()), 0));
}

}  // namespace crmsync
