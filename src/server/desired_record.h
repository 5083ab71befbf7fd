// A record as the CRM wants it to be, from its row of a link's query of the source.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "record/value.h"
#include "server/configuration.h"
#include "server/query.h"
#include "sync/task.h"

namespace crmsync {

struct DesiredRecord {
    std::shared_ptr<sync::Desired> desired;
    std::string code;     // of the problem
    std::string problem;  // why its values cannot be sent; empty: they can
};

DesiredRecord desired_record(const Configuration& configuration, const LinkConfiguration& link,
                             const std::string& key, const pg::Rows& rows, std::uint64_t row);

// The value of the property at a place of the layout, from the text that its column holds.
record::Canonical property_value(const LinkConfiguration& link, std::size_t place,
                                 std::string_view text);

}  // namespace crmsync
