// The preloaded library's interface, as the engine sees it.
#pragma once

#include "server/postgres/boundary.h"

extern "C" {
#include "preload/interface.h"
}

namespace crmsync {

// Throws nothing; found when the engine is loaded (see module.cpp), which fails without it.
const CrmsyncPreload& preload() noexcept;

}  // namespace crmsync
