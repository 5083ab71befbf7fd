// A record as the CRM wants it to be, from its row of a link's query of the source.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "record/value.h"
#include "server/configuration/configuration.h"
#include "server/postgres/query.h"
#include "sync/task.h"

namespace crmsync {

// What the CRM says, by place of the layout, where its value does not tell: which it is of several
// texts that a value_map makes one, or one that no property has.
using OwnTexts = std::map<std::size_t, std::string>;

struct DesiredRecord {
    std::shared_ptr<sync::Desired> desired;
    OwnTexts texts;
    std::string code;     // of the problem
    std::string problem;  // why its values cannot be sent; empty: they can
};

DesiredRecord desired_record(const Configuration& configuration, const LinkConfiguration& link,
                             const std::string& key, const pg::Rows& rows, std::uint64_t row);

// The value of the property at a place of the layout, from the text that its column holds.
record::Canonical property_value(const LinkConfiguration& link, std::size_t place,
                                 std::string_view text);

}  // namespace crmsync
