#include "server/crm/records_to_match.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "server/configuration/desired_record.h"
#include "server/configuration/record_key.h"
#include "server/postgres/divided_reading.h"

namespace crmsync {

namespace {

std::optional<record::Values> values_to_match(const LinkConfiguration& link, const pg::Rows& rows,
                                              std::uint64_t row) {
    record::Values values(link.rules.layout.size());
    for (std::size_t i = 0; i < link.match_on.size(); ++i) {
        const int column = static_cast<int>(i) + 1;
        if (rows.is_null(row, column)) {
            continue;
        }
        const std::size_t place = link.match_on[i];
        record::Canonical canonical = property_value(link, place, rows.text(row, column));
        if (!canonical.ok()) {
            return std::nullopt;
        }
        values[place] = std::move(canonical.value);
    }
    return values;
}

}  // namespace

std::vector<RecordToMatch> records_to_match(const LinkConfiguration& link,
                                            const pg::TextArray& keys) {
    std::vector<RecordToMatch> records;
    const auto read = [&](const pg::TextArray& some) {
        const pg::Rows rows = pg::query_as(link.owner, link.match_query, &some);
        for (std::uint64_t row = 0; row < rows.size(); ++row) {
            auto values = values_to_match(link, rows, row);
            if (values && rows.text(row, 0).size() <= longest_key) {
                records.push_back({rows.string(row, 0), std::move(*values)});
            }
        }
    };
    read_divided(keys, read, [](const std::string&, const pg::Error&) {});
    return records;
}

}  // namespace crmsync
