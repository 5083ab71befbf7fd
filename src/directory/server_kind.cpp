#include "directory/server_kind.h"

#include <algorithm>

#include "directory/attribute.h"
#include "directory/name.h"
#include "directory/search.h"

namespace crmsync::directory {

namespace {

constexpr std::string_view capability_active_directory = "1.2.840.113556.1.4.800";
constexpr std::string_view capability_active_directory_lds = "1.2.840.113556.1.4.1851";

bool contains(const Attribute* attribute, std::string_view value) {
    return attribute != nullptr && std::find(attribute->values.begin(), attribute->values.end(),
                                             value) != attribute->values.end();
}

std::string first(const Attribute* attribute) {
    return attribute == nullptr || attribute->values.empty() ? std::string()
                                                             : std::string(attribute->values[0]);
}

std::string key_attribute_of(const ServerKind& kind) {
    if (kind.is_active_directory) {
        return "objectGUID";
    }
    // 389 Directory Server has entryUUID only since 2.0, and then beside nsUniqueId.
    return kind.vendor.find("389") != std::string::npos ? "nsUniqueId" : "entryUUID";
}

// Servers of Active Directory allow no larger page (MaxPageSize), 389 Directory Server 2,000
// entries of any search, OpenDJ fewer than 1,000. OpenLDAP has no limit but one that it was given,
// and is read faster by a sixth than in pages of 10,000; memory does not depend on it.
int page_size_of(const ServerKind& kind) {
    if (kind.is_active_directory) {
        return 1000;
    }
    return kind.vendor == "OpenLDAP" ? 100'000 : smallest_page_size;
}

// Some servers have no root DSE: little is known of them then.
void search_root(Connection& connection, const Sink& sink) {
    Query query;
    query.scope = Scope::base;
    query.page_size = 0;
    query.attributes = {"vendorName",
                        "vendorVersion",
                        "objectClass",
                        "namingContexts",
                        "supportedCapabilities",
                        "supportedControl",
                        "structuralObjectClass",
                        "subschemaSubentry"};
    try {
        search(connection, query, sink);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) {
            throw;
        }
    }
}

}  // namespace

std::string ServerKind::context_of(const std::string& dn) const {
    std::string longest;
    for (const std::string& context : naming_contexts) {
        if (context.size() > longest.size() && lies_below(dn, context)) {
            longest = context;
        }
    }
    return longest;
}

ServerKind probe(Connection& connection) {
    ServerKind kind;
    search_root(connection, [&](const Entry& entry) {
        const Attribute* capabilities = entry.find("supportedCapabilities");
        kind.is_lightweight = contains(capabilities, capability_active_directory_lds);
        kind.is_active_directory =
            kind.is_lightweight || contains(capabilities, capability_active_directory);
        kind.vendor = first(entry.find("vendorName"));
        if (const std::string version = first(entry.find("vendorVersion")); !version.empty()) {
            kind.vendor += (kind.vendor.empty() ? "" : ", ") + version;
        }
        if (kind.vendor.empty() && contains(entry.find("objectClass"), "OpenLDAProotDSE")) {
            kind.vendor = "OpenLDAP";
        }
        if (kind.vendor.empty() && kind.is_active_directory) {
            kind.vendor = "Active Directory";
        }
        kind.supports_paging = contains(entry.find("supportedControl"), LDAP_CONTROL_PAGEDRESULTS);
        kind.subschema = first(entry.find("subschemaSubentry"));
        if (const Attribute* contexts = entry.find("namingContexts")) {
            kind.naming_contexts.assign(contexts->values.begin(), contexts->values.end());
        }
    });
    kind.key_attribute = key_attribute_of(kind);
    kind.page_size = page_size_of(kind);
    return kind;
}

}  // namespace crmsync::directory
