// Searches that either see everything they were asked for, or fail. Entries stream: one at a time
// is in memory, however large the directory; the server is held back by TCP, and pages (RFC 2696)
// serve only to stay below its limits.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "directory/connection.h"

namespace crmsync::directory {

// No server is known to refuse such a page.
constexpr int smallest_page_size = 500;

enum class Scope { base, one, sub };

struct Query {
    std::string base;
    Scope scope = Scope::sub;
    std::string filter = "(objectClass=*)";
    std::vector<std::string> attributes;  // empty: no attributes, only names
    int page_size = 1000;                 // entries; 0: no pages
    std::uint64_t sample = 0;             // stop after so many entries; 0: all
    // Parts of the tree that live on other servers: with Active Directory these are other naming
    // contexts, elsewhere they are entries of this base that we cannot see.
    bool ignore_references = false;
};

struct Attribute {
    std::string_view name;  // as the server wrote it, with options
    std::vector<std::string_view> values;
};

// Valid during the call of the sink only.
struct Entry {
    std::string_view dn;
    std::vector<Attribute> attributes;
    std::size_t attribute_count = 0;  // how many of the attributes are of this entry

    // The attribute of this name, or nullptr. Where it has no values, one of that name with
    // options: sn;lang-ja says how sn is written in Japanese, but userCertificate may come as
    // userCertificate;binary only. The first by name, so that the choice does not change by itself.
    const Attribute* find(std::string_view name) const noexcept;
};

using Sink = std::function<void(const Entry&)>;

// Returns the number of entries after the server has said that these are all (or after
// Query::sample). Throws Error, and whatever the sink throws.
std::uint64_t search(Connection& connection, const Query& query, const Sink& sink);

// Whether the entry that searches begin at is shown to us: whoever finds nothing below one that is
// not knows nothing. Throws Error, also where the server says that there is none.
bool shows_base(Connection& connection, const std::string& base);

// Calls the sink with each value of an attribute of one entry, in as many requests as the server
// wants: Active Directory gives large attributes in ranges (MS-ADTS 3.1.1.3.1.3.3). Throws Error
// (not_found when there is no such entry or it does not pass the filter).
std::uint64_t read_values(Connection& connection, const std::string& dn, const std::string& filter,
                          const std::string& attribute,
                          const std::function<void(std::string_view)>& sink);

}  // namespace crmsync::directory
