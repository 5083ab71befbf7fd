// From whatever went wrong to a Failure: transport errors, HTTP statuses, SOAP faults, response
// messages of a batch.
#pragma once

#include <pugixml.hpp>
#include <optional>
#include <string_view>

#include "exchange/operation.h"
#include "net/client.h"

namespace crmsync::exchange::ews {

// True when the operation changes something at the target, so that a lost answer leaves doubt.
bool writes(const Operation& operation);

// What kept an HTTP answer from arriving.
Failure transport_failure(const net::Response& response, bool write);

// An HTTP answer that holds no SOAP.
Failure http_failure(const net::Response& response, bool write);

// An answer that is broken or contradicts the request. A write may have happened.
Failure broken_answer(std::string_view code, std::string_view words, bool write);

// A SOAP fault: the request as a whole failed.
Failure fault_failure(pugi::xml_node fault, const net::Response& response, bool write);

// True for what can only follow for an item, not for a request as a whole.
bool about_one_item(Disposition disposition);

// One response message; nullopt: it succeeded.
std::optional<Failure> message_failure(pugi::xml_node message, bool write);

}  // namespace crmsync::exchange::ews
