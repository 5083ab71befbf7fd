// Statements that concern workers: what would find them in its way is let pass, what makes them
// needed wakes them.
#pragma once

namespace crmsync {

void install_statement_hook();

}  // namespace crmsync
