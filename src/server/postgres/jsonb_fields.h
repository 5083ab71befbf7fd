// Shadows and histories: flat jsonb documents of property name -> text value.
#pragma once

#include "record/record.h"
#include "server/postgres/query.h"

namespace crmsync {

// The values of the layout's properties in a document; absent where it has none.
std::vector<record::Value> read_values(const Jsonb* document, const record::Layout& layout);

enum class Absent { left_out, as_null };

// A document of these values. Refers to them: they must outlive it.
pg::JsonbArray::Document document_of(const record::Layout& layout,
                                     const std::vector<record::Value>& values, Absent absent);

// A document of these fields; a removed one is null.
pg::JsonbArray::Document document_of(const record::Fields& fields);

// Makes the document say nothing of a property: what it is merged into keeps what it has.
void leave_out(const record::Property& property, pg::JsonbArray::Document& document);

}  // namespace crmsync
