// From an entry to a row of the staging table: the mapped values as text, and for each a hash, so
// that the next run tells changed values from unchanged ones without keeping them. A mapping that
// changes makes its own values new, and leaves those of other columns what they were.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "directory/search.h"
#include "directory/server_kind.h"
#include "server/import/directory_link.h"

namespace crmsync {

struct DirectoryRow {
    static constexpr const char* login_separator = "\x1f";

    std::string key;
    std::string change_key;  // a hash of each value and its mapping: hash_length characters each
    std::string problem;     // why the entry cannot be merged; empty: it can
    std::string dn;
    std::string name;                 // the normalised DN, where memberships are kept
    std::string login;                // values of uid or sAMAccountName, likewise
    std::vector<std::string> values;  // parallel to DirectoryLink::mappings
    std::vector<bool> is_null;
};

class DirectoryRowReader {
  public:
    static constexpr int hash_length = 12;

    // Link and kind must outlive the reader.
    DirectoryRowReader(const DirectoryLink& link, const directory::ServerKind& kind);

    // The attributes that a search must ask for.
    std::vector<std::string> attributes() const;

    // Fills in the row, whose strings are used again and again. Throws directory::Error when the
    // entry does not show its key attribute, or whether it may be used.
    void read(const directory::Entry& entry, DirectoryRow& row) const;

    // What a column that is mapped to @enabled gets when an account may not be used; nullopt: its
    // value map has nothing for that, or it is mapped to something else.
    std::optional<std::string> disabled_value(std::size_t position) const;

    // What stands in a change key for such a column, once its user was disabled there because he
    // has left; no value's hash.
    std::string left_mark(std::size_t position) const;

  private:
    bool read_property(const directory::Entry& entry, const std::string& property,
                       const DirectoryRow& row, std::string& value) const;
    bool read_value(const directory::Entry& entry, std::size_t position, DirectoryRow& row) const;
    void make_unrecognisable(DirectoryRow& row) const;

    const DirectoryLink& link_;
    const directory::ServerKind& kind_;
    bool reads_state_;  // whether accounts may be used
    // By position: what a mapping adds to the hash of its values, and the hash of no value.
    std::vector<std::uint64_t> seeds_;
    std::vector<std::string> absent_;
    std::chrono::system_clock::time_point now_ = std::chrono::system_clock::now();
};

}  // namespace crmsync
