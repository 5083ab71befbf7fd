// Reads the change log: what became visible between the stored snapshot and now goes into
// `pending`.
//
// Never "id greater than the last": ids are taken before commit, so a row with a smaller id can
// become visible later. A marker is consumed exactly when its transaction is visible now and was
// not in the stored snapshot; marker, pending and the new snapshot change in one transaction.
//
// The log is emptied without DELETE: writers are switched to the other half, and once nobody holds
// the first any more, what is left in it is consumed and it is truncated.
#pragma once

namespace crmsync {

class ChangeLog {
  public:
    // Consumes what has become visible. always: store the new position even if nothing did, because
    // somebody waits for it. Returns true when a link got something to do.
    bool consume(bool always);

    // Empties the half that nobody appends to, if it is worth it and can be had without waiting.
    void rotate();
};

}  // namespace crmsync
