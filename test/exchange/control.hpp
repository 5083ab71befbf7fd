// The control endpoint: JSON over HTTP below /control/, for tests (see README.md).
#pragma once

#include "connection.hpp"
#include "service.hpp"

namespace stand_in {

/// Registers the endpoints; server and service outlive each other's use.
void register_control(ConnectionServer& server, Service& service);

}  // namespace stand_in
