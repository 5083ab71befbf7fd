// Exchange Web Services: renders an Operation into a SOAP request and reads the Answer.
#pragma once

#include <string>

#include "exchange/operation.h"
#include "net/client.h"

namespace crmsync::exchange::ews {

// Throws std::invalid_argument for an operation that the object cannot have.
net::Request render(const Operation& operation, const Account& account);

// Never throws on what a server sends: broken or hostile answers become Answer::failure.
Answer read(const Operation& operation, const net::Response& response);

}  // namespace crmsync::exchange::ews
