#include "server/postgres/parameters.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
}

#include "server/postgres/encoding.h"

namespace crmsync::pg {

namespace {

Datum text_datum(std::string_view text) {
    const Text converted = from_utf8(text.data(), text.size());
    return PointerGetDatum(
        cstring_to_text_with_len(converted.data, static_cast<int>(converted.size)));
}

Datum array_datum(Datum* values, bool* nulls, int count, Oid type, int length, bool by_value,
                  char align) {
    int dimensions[1] = {count};
    int lower_bounds[1] = {1};
    if (count == 0) {
        return PointerGetDatum(construct_empty_array(type));
    }
    return PointerGetDatum(construct_md_array(values, nulls, 1, dimensions, lower_bounds, type,
                                              length, by_value, align));
}

JsonbValue json_string(std::string_view text) {
    const Text converted = from_utf8(text.data(), text.size());
    JsonbValue value;
    value.type = jbvString;
    value.val.string.val = const_cast<char*>(converted.data);
    value.val.string.len = static_cast<int>(converted.size);
    return value;
}

Datum jsonb_datum(const JsonbArray::Document& document) {
    JsonbParseState* state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    for (const auto& [key, text] : document) {
        JsonbValue name = json_string(key);
        pushJsonbValue(&state, WJB_KEY, &name);
        JsonbValue value;
        if (text) {
            value = json_string(*text);
        } else {
            value.type = jbvNull;
        }
        pushJsonbValue(&state, WJB_VALUE, &value);
    }
    return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)));
}

// One overload for each alternative of Parameter; each fills in type, value and NULL.
struct Slot {
    Oid* type;
    Datum* value;
    char* null;
};

void put(Slot slot, std::monostate) {
    *slot.type = TEXTOID;
    *slot.null = 'n';
}

void put(Slot slot, bool value) {
    *slot.type = BOOLOID;
    *slot.value = BoolGetDatum(value);
}

void put(Slot slot, std::int32_t value) {
    *slot.type = INT4OID;
    *slot.value = Int32GetDatum(value);
}

void put(Slot slot, std::int64_t value) {
    *slot.type = INT8OID;
    *slot.value = Int64GetDatum(value);
}

void put(Slot slot, std::string_view value) {
    *slot.type = TEXTOID;
    *slot.value = text_datum(value);
}

template <class Element, class Make>
void put_array(Slot slot, const std::vector<Element>& list, Oid array_type, Oid type, int length,
               bool by_value, char align, Make make) {
    const int count = static_cast<int>(list.size());
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (list.size() + 1)));
    auto* nulls = static_cast<bool*>(palloc(list.size() + 1));
    for (int i = 0; i < count; ++i) {
        nulls[i] = !make(list[static_cast<std::size_t>(i)], &values[i]);
    }
    *slot.type = array_type;
    *slot.value = array_datum(values, nulls, count, type, length, by_value, align);
}

template <class Text>
void put_texts(Slot slot, const std::vector<Text>& list) {
    put_array(slot, list, TEXTARRAYOID, TEXTOID, -1, false, TYPALIGN_INT,
              [](std::string_view text, Datum* value) {
                  *value = text_datum(text);
                  return true;
              });
}

void put(Slot slot, const TextArray* list) {
    put_texts(slot, *list);
}

void put(Slot slot, const TextViewArray* list) {
    put_texts(slot, *list);
}

void put(Slot slot, const NullableTextArray* list) {
    put_array(slot, *list, TEXTARRAYOID, TEXTOID, -1, false, TYPALIGN_INT,
              [](const std::optional<std::string>& text, Datum* value) {
                  *value = text ? text_datum(*text) : Datum(0);
                  return text.has_value();
              });
}

void put(Slot slot, const IntegerArray* list) {
    put_array(slot, *list, INT4ARRAYOID, INT4OID, 4, true, TYPALIGN_INT,
              [](std::int32_t number, Datum* value) {
                  *value = Int32GetDatum(number);
                  return true;
              });
}

void put(Slot slot, const BigintArray* list) {
    put_array(slot, *list, INT8ARRAYOID, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
              [](std::int64_t number, Datum* value) {
                  *value = Int64GetDatum(number);
                  return true;
              });
}

void put(Slot slot, const JsonbArray* list) {
    put_array(slot, list->documents, JSONBARRAYOID, JSONBOID, -1, false, TYPALIGN_INT,
              [](const std::optional<JsonbArray::Document>& document, Datum* value) {
                  *value = document ? jsonb_datum(*document) : Datum(0);
                  return document.has_value();
              });
}

// std::visit may throw, which nothing may inside a guard; the index says the same.
template <std::size_t... Index>
void put(Slot slot, const Parameter& parameter, std::index_sequence<Index...>) {
    ((parameter.index() == Index ? put(slot, *std::get_if<Index>(&parameter)) : void()), ...);
}

}  // namespace

PlainParameters plain(std::span<const Parameter> parameters) {
    const std::size_t count = parameters.size();
    PlainParameters result;
    result.count = static_cast<int>(count);
    result.types = static_cast<Oid*>(palloc0(sizeof(Oid) * (count + 1)));
    result.values = static_cast<Datum*>(palloc0(sizeof(Datum) * (count + 1)));
    result.nulls = static_cast<char*>(palloc0(count + 1));
    for (std::size_t i = 0; i < count; ++i) {
        result.nulls[i] = ' ';
        put(Slot{&result.types[i], &result.values[i], &result.nulls[i]}, parameters[i],
            std::make_index_sequence<std::variant_size_v<Parameter>>());
    }
    return result;
}

}  // namespace crmsync::pg
