// Distinguished names in one comparable form.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace crmsync::directory {

// The name as libldap parses and prints it (RFC 4514), in lower case, inner runs of spaces as one
// and the parts of a multi-valued RDN sorted. Two names that differ only in spelling become equal.
// An unparsable name is returned in lower case.
std::string normalise_dn(std::string_view dn);

// The value that the first RDN has for this attribute; nullopt: none.
std::optional<std::string> rdn_value(std::string_view dn, std::string_view attribute);

// True when the text can be read as a DN with at least one RDN.
bool is_dn(std::string_view text);

// True when dn is base or lies below it; both may be in any spelling.
bool lies_below(std::string_view dn, std::string_view base);

}  // namespace crmsync::directory
