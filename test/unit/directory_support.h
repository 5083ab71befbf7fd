// What the tests of directory/ share.
#pragma once

#include "directory/socket.h"

namespace crmsync::test {

inline const directory::ShouldStop never = [] { return false; };

}  // namespace crmsync::test
