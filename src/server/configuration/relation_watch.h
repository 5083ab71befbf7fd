// Queries of a link are made for the columns that its relations have, and for their types. Whether
// any of these relations may be another by now is what the server itself tells every process that
// locks one: nobody has to ask for it.
#pragma once

namespace crmsync {

// From now on relations of the links that are served count, and are as they are read after this:
// before the transaction that reads the configuration.
void begin_watching_relations();

// In that transaction, at its end.
void watch_relations_served();

// Whether one of them may have changed since. What has been read in a transaction was read as it
// should be if not so at its end.
bool relations_changed() noexcept;

}  // namespace crmsync
