#include "schema.hpp"

#include <stdexcept>

#ifdef WITH_LIBXML2
#include <libxml/parser.h>
#include <libxml/xmlschemas.h>
#endif

namespace stand_in {

#ifdef WITH_LIBXML2

template <auto Free>
struct Freer {
    template <class T>
    void operator()(T* pointer) const {
        Free(pointer);
    }
};

namespace {

/// An error is const or not, depending on the library's release.
template <class Error>
void remember_first(void* to, Error* error) {
    auto& violation = *static_cast<std::optional<SchemaViolation>*>(to);
    if (violation)
        return;
    std::string text = error->message ? error->message : "not valid";
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    violation = {error->line, text};
}

}  // namespace

struct Schema::Parsed {
    std::unique_ptr<xmlSchema, Freer<xmlSchemaFree>> schema;
};

Schema::Schema(const std::string& directory) : parsed_(std::make_unique<Parsed>()) {
    xmlInitParser();
    std::unique_ptr<xmlSchemaParserCtxt, Freer<xmlSchemaFreeParserCtxt>> context(
        xmlSchemaNewParserCtxt((directory + "/envelope.xsd").c_str()));
    parsed_->schema.reset(context ? xmlSchemaParse(context.get()) : nullptr);
    if (!parsed_->schema)
        throw std::runtime_error("cannot use the schema " + directory + "/envelope.xsd");
}

std::optional<SchemaViolation> Schema::validate(const std::string& text) const {
    std::optional<SchemaViolation> violation;
    std::unique_ptr<xmlParserCtxt, Freer<xmlFreeParserCtxt>> reader(xmlNewParserCtxt());
    std::unique_ptr<xmlDoc, Freer<xmlFreeDoc>> document(
        xmlCtxtReadMemory(reader.get(), text.data(), static_cast<int>(text.size()), nullptr,
                          nullptr, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_HUGE));
    if (!document) {
        remember_first(&violation, xmlCtxtGetLastError(reader.get()));
        return violation;
    }
    std::unique_ptr<xmlSchemaValidCtxt, Freer<xmlSchemaFreeValidCtxt>> validator(
        xmlSchemaNewValidCtxt(parsed_->schema.get()));
    xmlSchemaSetValidStructuredErrors(validator.get(), remember_first, &violation);
    if (xmlSchemaValidateDoc(validator.get(), document.get()) != 0 && !violation)
        violation = {0, "not valid"};
    return violation;
}

#else

struct Schema::Parsed {};

Schema::Schema(const std::string&) {
    throw std::runtime_error("built without libxml2: --schema is not available");
}

std::optional<SchemaViolation> Schema::validate(const std::string&) const {
    return std::nullopt;
}

#endif

Schema::~Schema() = default;

}  // namespace stand_in
