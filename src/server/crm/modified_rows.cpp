#include "server/crm/modified_rows.h"

#include "server/postgres/divided_reading.h"

namespace crmsync {

std::map<std::string, std::chrono::sys_seconds> modified_rows(const LinkConfiguration& link,
                                                              const pg::TextArray& records) {
    std::map<std::string, std::chrono::sys_seconds> modified;
    if (link.modified_query.empty()) {
        return modified;
    }
    const auto read = [&](const pg::TextArray& keys) {
        const pg::Rows rows = pg::query_as(link.owner, link.modified_query, &keys);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            if (!rows.is_null(row, 1)) {
                modified.emplace(
                    rows.string(row, 0),
                    std::chrono::sys_seconds(std::chrono::seconds(rows.integer(row, 1))));
            }
        }
    };
    read_divided(records, read, [](const std::string&, const pg::Error&) {});
    return modified;
}

}  // namespace crmsync
