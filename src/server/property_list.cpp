// The vocabulary, as the engine knows it: for the view crmsync.properties, and where SQL asks for a
// part.
#include "server/postgres/result_set.h"

#include <string_view>

#include "record/property.h"

namespace {

using namespace crmsync;

std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> words;
    while (!list.empty()) {
        const auto comma = list.find(',');
        words.emplace_back(list.substr(0, comma));
        list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    }
    return words;
}

std::vector<std::string> object_names(const record::Property& property) {
    std::vector<std::string> names;
    for (const auto object :
         {record::Object::contact, record::Object::event, record::Object::task}) {
        if (record::belongs_to(property, object)) {
            names.emplace_back(record::object_name(object));
        }
    }
    return names;
}

Datum list_properties(FunctionCallInfo call) {
    pg::ResultSet rows(call);
    for (const record::Property& property : record::properties()) {
        rows.add({std::string(property.name), object_names(property),
                  std::string(record::type_name(property.type)),
                  property.max_length == 0
                      ? pg::ResultValue()
                      : pg::ResultValue(static_cast<std::int32_t>(property.max_length)),
                  std::string(record::access_name(property.access)),
                  property.choices.empty() ? pg::ResultValue()
                                           : pg::ResultValue(split(property.choices)),
                  pg::text_or_null(record::ews_address(property)),
                  pg::text_or_null(std::string(property.graph_path)),
                  std::string(property.description)});
    }
    return Datum(0);
}

Datum binary_limit(FunctionCallInfo call) {
    const std::string name = pg::text_argument(call, 0);
    for (const record::Property& property : record::properties()) {
        if (property.name == name && property.type == record::Type::binary) {
            return Int32GetDatum(static_cast<std::int32_t>(property.max_length));
        }
    }
    call->isnull = true;
    return Datum(0);
}

}  // namespace

CRMSYNC_SQL_FUNCTION(crmsync_property_list, list_properties);
CRMSYNC_SQL_FUNCTION(crmsync_binary_limit, binary_limit);
