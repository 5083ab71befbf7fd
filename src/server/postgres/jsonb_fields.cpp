#include "server/postgres/jsonb_fields.h"

#include <string_view>

#include "server/postgres/encoding.h"

namespace crmsync {

namespace {

struct Field {
    pg::Text key;
    pg::Text value;
};

pg::Text text_of(const JsonbValue& value) {
    return pg::to_utf8(value.val.string.val, static_cast<std::size_t>(value.val.string.len));
}

// More properties than Exchange has; a longer document was not written by us.
constexpr int most_fields = 512;

// Walks the document in PostgreSQL's own way; returns how many pairs of texts it has.
int walk(const Jsonb* document, Field* fields) {
    JsonbIterator* iterator = JsonbIteratorInit(const_cast<JsonbContainer*>(&document->root));
    JsonbValue value;
    int count = 0;
    for (JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true);
         token != WJB_DONE && count < most_fields;
         token = JsonbIteratorNext(&iterator, &value, true)) {
        if (token == WJB_KEY) {
            fields[count].key = text_of(value);
        } else if (token == WJB_VALUE && value.type == jbvString) {
            fields[count++].value = text_of(value);
        }
    }
    return count;
}

}  // namespace

std::vector<record::Value> read_values(const Jsonb* document, const record::Layout& layout) {
    std::vector<record::Value> values(layout.size());
    Field fields[most_fields];
    const int count = pg::guard([&] { return walk(document, fields); });
    for (int i = 0; i < count; ++i) {
        const std::string_view name(fields[i].key.data, fields[i].key.size);
        for (std::size_t at = 0; at < layout.size(); ++at) {
            if (layout[at]->name == name) {
                values[at].emplace(fields[i].value.data, fields[i].value.size);
                break;
            }
        }
    }
    return values;
}

pg::JsonbArray::Document document_of(const record::Layout& layout,
                                     const std::vector<record::Value>& values, Absent absent) {
    pg::JsonbArray::Document document;
    document.reserve(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i]) {
            document.emplace_back(layout[i]->name, std::string_view(*values[i]));
        } else if (absent == Absent::as_null) {
            document.emplace_back(layout[i]->name, std::nullopt);
        }
    }
    return document;
}

pg::JsonbArray::Document document_of(const record::Fields& fields) {
    pg::JsonbArray::Document document;
    document.reserve(fields.size());
    for (const record::Field& field : fields) {
        document.emplace_back(
            field.property->name,
            field.value ? std::optional<std::string_view>(*field.value) : std::nullopt);
    }
    return document;
}

void leave_out(const record::Property& property, pg::JsonbArray::Document& document) {
    std::erase_if(document, [&](const auto& pair) { return pair.first == property.name; });
}

}  // namespace crmsync
