// Where entries wait until the search is known to be complete: temporary tables of the worker's
// session. They need no WAL and nobody's rights, are seen by nobody else and vanish with the
// worker. Rows arrive by COPY, a megabyte at a time, each in a transaction of its own, so that none
// is open while the directory is read.
#pragma once

#include <string>
#include <string_view>

#include "server/directory_link.h"
#include "server/directory_row.h"

namespace crmsync {

// Collects rows in the binary format of COPY and copies them into a temporary table.
class DirectoryCopy {
  public:
    // The link must outlive it. what: what is staged, for pg_stat_activity.
    DirectoryCopy(const DirectoryLink& link, std::string table, int columns,
                  const std::string& what);

    void begin_row();
    void add(std::string_view value);
    void add_null();

    // Copies what was collected once it is large. Between rows only; opens a transaction. Throws
    // RunStopped.
    void flush_if_large();
    void flush();

  private:
    const DirectoryLink& link_;
    std::string table_;
    int columns_;
    std::string activity_;
    std::string buffer_;
};

// Makes the temporary tables, in the current transaction:
//   crmsync_entry    what the directory said: key, change_key, problem, dn, name, login, v0, v1,
//   ... crmsync_change   which entries are to be merged: entry (its ctid), key, record, old_key
//   crmsync_created  the rows being inserted into the CRM: entry, record
//   crmsync_sought   what match_on knows new entries by: entry, key
//   crmsync_match    rows of the CRM that entries may adopt: entry, record
//   crmsync_member   members of mapped groups: crm_group, form (dn or login), member
// and lets the link's owner do what the merge does in his name.
void create_staging(const DirectoryLink& link);

// The same for inbound expressions: a temporary function for each, pg_temp.crmsync_inbound_N, which
// belongs to the link's owner.
void create_inbound_functions(const DirectoryLink& link);

// The text as an SQL literal.
std::string literal(std::string_view text);

// Adds the row to what a DirectoryCopy into crmsync_entry collects.
void add_entry(DirectoryCopy& copy, const DirectoryLink& link, const DirectoryRow& row);

// Columns of crmsync_entry.
int entry_columns(const DirectoryLink& link);

}  // namespace crmsync
