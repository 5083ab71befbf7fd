// The planner's statistics of our own tables. A first load, or a change of very many records, makes
// them grow a hundredfold between two rounds of autovacuum, and what was planned for a handful of
// rows is then done for each of thousands.
#pragma once

namespace crmsync {

// Renews what the planner knows of tables that have grown far beyond it, in a transaction of its
// own; plans that were made before are made anew. A table that somebody else is at is left alone.
void renew_statistics();

}  // namespace crmsync
