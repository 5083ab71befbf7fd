// A SOAP request under construction: the envelope with its headers, and the HTTP request around it.
#pragma once

#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "exchange/operation.h"
#include "net/client.h"

namespace crmsync::exchange::ews {

// Small conveniences over pugixml, which wants names ending in NUL: every name is a literal.
pugi::xml_node add(pugi::xml_node parent, const char* name);
pugi::xml_node add_text(pugi::xml_node parent, const char* name, const std::string& text);
void set(pugi::xml_node node, const char* attribute, const char* value);

// Text that XML can carry. Values have been judged by record::canonical before; keys of folders and
// names that have not lose what cannot be sent.
std::string sendable(std::string_view text);

class Request {
  public:
    // The operation's element, as "m:CreateItem", is added to the body. Throws
    // std::invalid_argument when the account's mailbox cannot be an address in a header.
    Request(const Account& account, const char* operation);

    pugi::xml_node operation() const { return operation_; }

    // `answer_limit`: bytes after which an answer is given up.
    net::Request finish(std::size_t answer_limit) const;

  private:
    const Account& account_;
    pugi::xml_document document_;
    pugi::xml_node operation_;
};

// The local name of the element that an item of this kind is.
std::string_view item_element(record::Object object);

// <t:DistinguishedFolderId> of the object's default folder; names the mailbox for delegates.
void add_default_folder(pugi::xml_node parent, record::Object object, const Account& account);
void add_distinguished_folder(pugi::xml_node parent, const char* name, const Account& account);
void add_folder_id(pugi::xml_node parent, const std::string& id);
void add_item_id(pugi::xml_node parent, const ItemReference& item, bool with_change_key);

}  // namespace crmsync::exchange::ews
