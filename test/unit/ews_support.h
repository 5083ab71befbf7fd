// What the tests of the EWS protocol share: short ways to name properties and to write answers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "exchange/ews/protocol.h"
#include "record/record.h"

namespace crmsync::test {

// A property of contacts; the test fails at once when there is none of this name.
const record::Property* contact(std::string_view name);

// Every contact property that is written, with a valid value for each.
record::Fields full_contact();
record::Layout layout_of(const record::Fields& fields);

exchange::Account account();

// <s:Envelope> with this body, and the HTTP response that carries it.
std::string envelope(const std::string& body);
net::Response http(int status, std::string body, std::string content_type = "text/xml");
net::Response soap(const std::string& body, int status = 200);

// <m:OPERATIONResponse> with these response messages.
std::string messages(const std::string& operation, const std::vector<std::string>& messages);
std::string success(const std::string& inside = {});
std::string item_success(const std::string& id, const std::string& change_key = "CK");
std::string error(const std::string& code, const std::string& text = "words",
                  const std::string& message_xml = {}, const std::string& response_class = "Error");
std::string fault(const std::string& code, const std::string& text = "words",
                  const std::string& more = {});

// A create of `count` contacts.
exchange::CreateItems create(std::size_t count);

}  // namespace crmsync::test
