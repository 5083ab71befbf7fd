#include "directory/schema.h"

#include <memory>

#include <ldap_schema.h>

#include "directory/attribute.h"
#include "directory/search.h"

namespace crmsync::directory {

namespace {

struct ClassDeleter {
    void operator()(LDAPObjectClass* definition) const noexcept {
        ldap_objectclass_free(definition);
    }
};
using Class = std::unique_ptr<LDAPObjectClass, ClassDeleter>;

Class parse(const std::string& definition) {
    int code = 0;
    const char* position = nullptr;
    return Class(ldap_str2objectclass(definition.c_str(), &code, &position, LDAP_SCHEMA_ALLOW_ALL));
}

// names: ends with a null pointer, or is one.
bool contains(char** names, std::string_view wanted) {
    for (; names != nullptr && *names != nullptr; ++names) {
        if (same_name(*names, wanted)) {
            return true;
        }
    }
    return false;
}

}  // namespace

Schema::Schema(Connection& connection, const ServerKind& kind) {
    if (kind.subschema.empty()) {
        return;
    }
    try {
        read_values(connection, kind.subschema, "(objectClass=subschema)", "objectClasses",
                    [&](std::string_view value) { definitions_.emplace_back(value); });
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::denied) {
            throw;
        }
    }
}

std::optional<bool> Schema::demands(std::string_view object_class,
                                    std::string_view attribute) const {
    for (const std::string& text : definitions_) {
        const Class definition = parse(text);
        if (definition != nullptr && contains(definition->oc_names, object_class)) {
            return contains(definition->oc_at_oids_must, attribute);
        }
    }
    return std::nullopt;
}

}  // namespace crmsync::directory
