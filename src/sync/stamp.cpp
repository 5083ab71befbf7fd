#include "sync/stamp.h"

#include <utility>

#include "exchange/stamp.h"
#include "record/record.h"
#include "record/text.h"

namespace crmsync::sync {

std::string make_stamp(std::string_view instance, std::string_view link, std::string_view key) {
    return exchange::stamp_text({std::string(instance), std::string(link), std::string(key)});
}

std::string stamp_of(std::string_view prefix, std::string_view key) {
    auto stamp = exchange::read_stamp(prefix).value_or(exchange::Stamp{});
    stamp.key = key;
    return exchange::stamp_text(stamp);
}

std::optional<std::string> key_of_stamp(std::string_view stamp, std::string_view prefix) {
    if (prefix.empty() || !stamp.starts_with(prefix)) {
        return std::nullopt;
    }
    auto read = exchange::read_stamp(stamp);
    if (!read || read->key.empty() || read->key.size() > record::longest_kept_key ||
        !record::is_storable(read->key)) {
        return std::nullopt;
    }
    return std::move(read->key);
}

}  // namespace crmsync::sync
