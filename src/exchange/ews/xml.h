// Reading XML that a server wrote: names without their prefixes, text whole, nothing recursive.
#pragma once

#include <pugixml.hpp>
#include <string>
#include <string_view>

namespace crmsync::exchange::ews {

// The name without its namespace prefix. Prefixes are the server's choice; the elements that count
// here have the same meaning in every namespace of EWS.
std::string_view local_name(pugi::xml_node node);

// The first child element with this local name, or a null node.
pugi::xml_node child(pugi::xml_node parent, std::string_view name);

// All child elements, or those with this local name: for (auto node : children(parent, "Entry")).
class children {
  public:
    explicit children(pugi::xml_node parent, std::string_view name = {})
        : first_(parent.first_child()), name_(name) {}

    class iterator {
      public:
        iterator(pugi::xml_node node, std::string_view name) : node_(node), name_(name) { skip(); }
        pugi::xml_node operator*() const { return node_; }
        iterator& operator++() {
            node_ = node_.next_sibling();
            skip();
            return *this;
        }
        bool operator!=(const iterator& other) const { return node_ != other.node_; }

      private:
        void skip() {
            while (node_ && (node_.type() != pugi::node_element ||
                             (!name_.empty() && local_name(node_) != name_))) {
                node_ = node_.next_sibling();
            }
        }

        pugi::xml_node node_;
        std::string_view name_;
    };

    iterator begin() const { return {first_, name_}; }
    iterator end() const { return {{}, name_}; }

  private:
    pugi::xml_node first_;
    std::string_view name_;
};

// All text directly below the element, CDATA included.
std::string text_of(pugi::xml_node node);

// Parses; false: it is not well formed, and `problem` says why. Bounded in memory whatever the
// body holds: a body with too many elements or attributes is refused before a tree is built.
// Character references that XML forbids, which Exchange does emit, become U+FFFD, and surrogate
// pairs the character they mean. The document keeps no view into `body`.
bool parse(std::string_view body, pugi::xml_document& document, std::string& problem);

}  // namespace crmsync::exchange::ews
