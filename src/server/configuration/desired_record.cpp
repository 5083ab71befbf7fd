#include "server/configuration/desired_record.h"

#include <string_view>
#include <utility>

#include "record/value.h"
#include "server/configuration/record_key.h"
#include "server/postgres/encoding.h"
#include "sync/stamp.h"

namespace crmsync {

record::Canonical property_value(const LinkConfiguration& link, std::size_t place,
                                 std::string_view text) {
    const record::Property& property = *link.rules.layout[place];
    const auto& map = link.value_maps[place];
    if (map) {
        const auto mapped = map->find(std::string(text));
        if (mapped == map->end()) {
            record::Canonical unknown;
            unknown.problem = "value \"" + std::string(text) + "\" for property \"" +
                              std::string(property.name) + "\" is not in its value_map";
            return unknown;
        }
        text = mapped->second;
    }
    record::Canonical canonical = record::canonical(property, text);
    if (canonical.ok() && canonical.value) {
        // What JSON spells may be in the text and yet not to be kept in the database.
        if (const auto problem = pg::encoding_problem(*canonical.value)) {
            canonical.problem = std::string(property.name) + ": " + *problem;
        }
    }
    return canonical;
}

DesiredRecord desired_record(const Configuration& configuration, const LinkConfiguration& link,
                             const std::string& key, const pg::Rows& rows, std::uint64_t row) {
    const record::Layout& layout = link.rules.layout;
    auto desired = std::make_shared<sync::Desired>();
    desired->key = key;
    desired->stamp = sync::make_stamp(configuration.instance, link.name, key);
    desired->values.resize(layout.size());
    desired->rules = link.kept_rules;
    OwnTexts texts;
    if (key.empty()) {  // no stamp would tell whose item it is
        return {std::move(desired), {}, "KEY", "the record's key is empty"};
    }
    if (key.size() > longest_key) {
        return {std::move(desired),
                {},
                "KEY",
                "the record's key has " + std::to_string(key.size()) +
                    " bytes, and a key may have " + std::to_string(longest_key)};
    }
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const int column = static_cast<int>(i) + 1;
        if (rows.is_null(row, column)) {
            continue;
        }
        record::Canonical canonical = property_value(link, i, rows.text(row, column));
        if (link.value_maps[i] || !canonical.ok()) {
            texts.emplace(i, rows.text(row, column));
        }
        if (!canonical.ok() && link.rules.fields[i].access == record::Access::inbound) {
            continue;  // whatever it is, it is not to go out
        }
        if (!canonical.ok()) {
            return {std::move(desired), {}, "VALUE", std::move(canonical.problem)};
        }
        desired->values[i] = std::move(canonical.value);
    }
    desired->all =
        record::fields_to_create(link.rules.object, layout, link.rules.fields, desired->values);
    return {std::move(desired), std::move(texts), {}, {}};
}

}  // namespace crmsync
