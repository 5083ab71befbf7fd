// Reading XML that a server wrote: names without their prefixes, text whole, nothing recursive.
#pragma once

#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace crmsync::exchange::ews {

// The name without its namespace prefix. Prefixes are the server's choice; the elements that count
// here have the same meaning in every namespace of EWS.
std::string_view local_name(pugi::xml_node node);

// The first child element with this local name, or a null node.
pugi::xml_node child(pugi::xml_node parent, std::string_view name);

// All child elements, or those with this local name.
std::vector<pugi::xml_node> children(pugi::xml_node parent, std::string_view name = {});

// All text directly below the element, CDATA included.
std::string text_of(pugi::xml_node node);

// Parses; nullopt in `problem` when it is well formed, else why not. Bounded in memory whatever the
// body holds: a body with too many elements or attributes is refused before a tree is built.
// Character references that XML forbids, which Exchange does emit, become U+FFFD, and surrogate
// pairs the character they mean. The document keeps no view into `body`.
bool parse(std::string_view body, pugi::xml_document& document, std::string& problem);

}  // namespace crmsync::exchange::ews
