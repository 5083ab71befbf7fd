// SOAP envelopes: reading requests without caring for prefixes, writing answers and faults.
#pragma once

#include "errors.hpp"
#include "property_table.hpp"

#include <pugixml.hpp>

#include <string>
#include <string_view>

namespace stand_in {

inline constexpr std::string_view kTypes =
    "http://schemas.microsoft.com/exchange/services/2006/types";
inline constexpr std::string_view kMessages =
    "http://schemas.microsoft.com/exchange/services/2006/messages";

/// Element name without its prefix.
std::string_view local_name(pugi::xml_node node);

/// Namespace of an element, resolved through the declarations in scope.
std::string_view namespace_of(pugi::xml_node node);

/// First child element of this local name.
pugi::xml_node child(pugi::xml_node parent, std::string_view name);

/// First child that is an element.
pugi::xml_node first_element(pugi::xml_node parent);

/// Number of child elements.
std::size_t count_elements(pugi::xml_node parent);

/// Appends an element with text.
pugi::xml_node add_text(pugi::xml_node parent, const char* name, std::string_view text);

/// Copies an element and what is in it, with the prefix t: throughout.
void copy_as_types(pugi::xml_node to, pugi::xml_node from);

/// Serialises without declaration and indentation.
std::string serialise(pugi::xml_node node);

/// Calls visit for every member of a joined value.
template <class Visit>
void each_member(std::string_view joined, Visit&& visit) {
    while (true) {
        std::size_t end = joined.find(kJoin);
        visit(joined.substr(0, end));
        if (end == std::string_view::npos)
            return;
        joined.remove_prefix(end + 1);
    }
}

/// An answer under construction.
class Answer {
  public:
    /// `operation` without the suffix Response.
    explicit Answer(std::string_view operation);

    /// A response message of class Success, after which its content is appended.
    pugi::xml_node success();
    /// A response message of class Error.
    void error(const ItemError& error);

    std::string text() const;

  private:
    pugi::xml_node message(const char* response_class);

    std::string operation_;
    pugi::xml_document document_;
    pugi::xml_node messages_;
};

/// The SOAP fault as Exchange writes it.
std::string fault_text(const SoapFault& fault);

}  // namespace stand_in
