// The databases of the server as the launcher knows them.
#pragma once

#include "preload/compatibility.h"
#include "preload/shared_state.h"

namespace crmsync {

enum class DatabaseState {
    unknown,   // not looked at yet, or to be looked at again
    absent,    // has no extension
    starting,  // a worker is registered
    running,   // its worker has found the extension
    stopping,  // its worker was told to end
    failed,    // its worker failed and is started again after a pause
    no_slot,   // the server has no free place for a worker
};

struct Database {
    Oid oid;
    char name[NAMEDATALEN];
    DatabaseState state;
    bool listed;   // in pg_database, open to connections, whole, and no template
    bool warned;   // that there is no worker slot
    int failures;  // in a row
    TimestampTz started;
    TimestampTz next;                // when it is looked at again
    BackgroundWorkerHandle* handle;  // of a worker that this launcher registered
};

class DatabaseList {
  public:
    // Reads pg_database in a transaction of its own; entries that are gone stay, not listed.
    void read();
    void remove(Database* database);

    Database* begin() { return entries_; }
    Database* end() { return entries_ + count_; }

  private:
    void note(Oid oid, const char* name);

    Database* entries_ = nullptr;
    int count_ = 0;
    int capacity_ = 0;
};

}  // namespace crmsync
