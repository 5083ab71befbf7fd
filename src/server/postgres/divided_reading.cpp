#include "server/postgres/divided_reading.h"

#include <cstddef>
#include <optional>

#include "server/postgres/subtransaction.h"

namespace crmsync {

bool concerns_values(std::string_view code) {
    return code.starts_with("22") || code.starts_with("21") || code.starts_with("P0") ||
           code.starts_with("38") || code.starts_with("39");
}

void read_divided(const pg::TextArray& keys, const std::function<void(const pg::TextArray&)>& read,
                  const std::function<void(const std::string&, const pg::Error&)>& unreadable) {
    const std::optional<pg::Error> error = pg::subtransaction([&] { read(keys); });
    if (!error) {
        return;
    }
    pg::check_interrupts();
    if (!concerns_values(error->code())) {
        throw pg::Error(*error);
    }
    if (keys.empty()) {
        throw pg::Error(*error);  // it is not for a key
    }
    if (keys.size() == 1) {
        unreadable(keys.front(), *error);
        return;
    }
    const auto middle = keys.begin() + static_cast<std::ptrdiff_t>(keys.size() / 2);
    read_divided({keys.begin(), middle}, read, unreadable);
    read_divided({middle, keys.end()}, read, unreadable);
}

}  // namespace crmsync
