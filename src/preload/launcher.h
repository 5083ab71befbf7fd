// The launcher: one background worker of the server, connected to no database, that keeps one
// resident worker running in each database that has the extension.
#pragma once

namespace crmsync {

// Registers it with the postmaster; only while libraries are preloaded.
void register_launcher();

}  // namespace crmsync
