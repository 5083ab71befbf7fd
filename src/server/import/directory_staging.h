// Where entries wait until the search is known to be complete: temporary tables of the worker's
// session. They need no WAL and nobody's rights, are seen by nobody else and vanish with the
// worker. Rows arrive by COPY, many at a time, each time in a transaction of its own, so that none
// is open while the directory is read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "server/import/directory_link.h"

namespace crmsync {

// Rows in the binary format of COPY.
class CopyRows {
  public:
    void begin_row(int columns);
    void add(std::string_view value);
    void add_null();
    void append(const CopyRows& other, std::size_t begin, std::size_t end);

    std::size_t size() const noexcept { return bytes_.size(); }
    void clear() { bytes_.clear(); }

    // Copies them into a temporary table, in the current transaction.
    void copy_into(const char* table);

  private:
    std::string bytes_;
};

// Collects rows of members and copies them into crmsync_member.
class DirectoryMembers {
  public:
    // The link must outlive it.
    explicit DirectoryMembers(const DirectoryLink& link);

    // Opens a transaction when many were collected, as finish() does. Throws RunStopped.
    void add(std::string_view crm_group, std::string_view form, std::string_view member);
    void finish();

  private:
    const DirectoryLink& link_;
    std::string activity_;
    CopyRows rows_;
};

// Makes the temporary tables, in the current transaction:
//   crmsync_entry    what the directory said: key, name, login, change_key, problem, dn, v0, v1,
//   ...
//                    Of an entry that is as the last run left it: key, name, login; else NULL
//   crmsync_change   which entries are to be merged: entry (its ctid), key, record, old_key
//   crmsync_created  the rows being inserted into the CRM: entry, record
//   crmsync_sought   what match_on knows new entries by: entry, key
//   crmsync_match    rows of the CRM that entries may adopt: entry, record
//   crmsync_met      rows of the CRM whose entries are not there, but others that match: record
//   crmsync_member   members of mapped groups: crm_group, form (dn or login), member
// and lets the link's owner do what the merge does in his name.
void create_staging(const DirectoryLink& link);

// The same for inbound expressions: a temporary function for each, pg_temp.crmsync_inbound_N, which
// belongs to the link's owner.
void create_inbound_functions(const DirectoryLink& link);

// The text as an SQL literal.
std::string literal(std::string_view text);

}  // namespace crmsync
