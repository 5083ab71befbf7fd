// The SQL that brings a complete reading of the directory into the CRM. All statements of the
// import are generated here, set-based; those that touch the CRM run as the link's owner, those
// that touch our own tables as ourselves, never both in one.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "server/import/directory_entries.h"
#include "server/import/directory_failures.h"
#include "server/import/directory_guard.h"
#include "server/import/directory_link.h"
#include "server/import/directory_others.h"
#include "server/import/directory_row.h"
#include "server/import/directory_slices.h"

namespace crmsync {

struct DirectoryOutcome {
    std::int64_t read = 0;
    std::int64_t created = 0;
    std::int64_t updated = 0;
    std::int64_t vanished = 0;
    std::int64_t disabled = 0;
    std::int64_t members_added = 0;
    std::int64_t members_removed = 0;
    std::vector<Held> held;  // what the guard holds back
};

class DirectoryMerge {
  public:
    // All but the reader must outlive the merge.
    DirectoryMerge(const DirectoryLink& link, const DirectoryRowReader& reader,
                   DirectoryOutcome& outcome, DirectoryFailures& failures);

    // Finds out what differs, after a complete search.
    void compare(const DirectorySurvey& survey);

    // Inserts and updates rows of the CRM, in slices of crmsync_change. A row that cannot be merged
    // becomes a failure and the others go on, until so many have failed that something must be
    // wrong with all of them: the rest is then left to the next run.
    void merge();

    // Why the merge was given up; empty: it was not.
    const std::string& too_many() const noexcept { return too_many_; }

    // Whether who has not been seen is gone, and does not stand among those whom a merge that was
    // given up has met under another key.
    bool knows_who_is_gone() const noexcept { return too_many_.empty() || strangers_ == 0; }

    // Marks users that are gone, and disables them after the grace time, as the guard allows.
    void mark_vanished();

  private:
    void find_changed();
    void find_duplicates();
    void find_vanished();
    void create_match_functions() const;
    bool seek() const;
    void find_matches();
    void adopt();
    void hold_disabled();
    // A column that says who is enabled.
    struct EnabledColumn {
        std::size_t position;
        std::string disabled;  // what it gets when he is not
        std::string left;      // in the change key of who has left, and was disabled in it
    };
    using EnabledColumns = std::vector<EnabledColumn>;
    using ColumnText = std::function<std::string(const EnabledColumn&)>;
    static std::string of_columns(const EnabledColumns& columns, const std::string& separator,
                                  const ColumnText& text);
    // One that the CRM refuses keeps no other from being set, unless they go together only.
    enum class Columns { together, apart };
    using SetColumns = std::function<void(const EnabledColumns&)>;
    EnabledColumns set_columns(Columns how, const SetColumns& set) const;
    std::string disabling_value(const EnabledColumn& column) const;
    static std::string has_been_disabled(const EnabledColumn& column);
    std::string is_to_be_disabled(const EnabledColumn& column) const;
    std::string is_to_be_disabled(const EnabledColumns& columns) const;
    std::int64_t count_disabled(const std::string& within) const;
    using Tell = std::function<void(Slice, const pg::Error&)>;
    void disable_alone(Slice slice, const std::string& which, const Tell& tell);
    void disable_alone(const std::string& which, Columns how);
    void note_disabled_alone(const EnabledColumns& columns, const std::string& which) const;
    pg::TextArray find_due(Passage& passage);
    void let_go(pg::TextArray records, Passage passage);
    void disable_in_part(pg::TextArray records);
    pg::TextArray judged_leavers(const OtherImports& others, pg::TextArray& records) const;
    std::int64_t disable_leavers(const EnabledColumns& columns, const pg::TextArray& leavers) const;
    void merge_rows(Slice slice);
    void hold_mailbox() const;
    std::int64_t insert_rows(const std::string& within, const std::string& entries);
    std::uint64_t refuse_long_keys(const std::string& table);
    void forget_rows_that_are_not_there();
    std::int64_t update_rows(const std::string& within);
    void note_items(const std::string& change_key, const std::string& which) const;
    void note_failure(Slice slice, const pg::Error& error);
    void fail(Slice slice, const pg::Error& error);
    // SQL expressions: what a column gets, of an entry or of this text; and whether a row has
    // something else there.
    std::string value(std::size_t position) const;
    std::string value(std::size_t position, const std::string& text) const;
    std::string differs(std::size_t position, const std::string& value) const;
    // The hash of an entry's value, in its change key.
    static std::string value_hash(std::size_t position);
    // Whether the directory's value, or what is made of it, is another one than in the last run:
    // its hash is not among those of then, wherever it stood.
    static std::string changed(std::size_t position);
    std::string key_statement() const;
    std::string insert_statement() const;
    std::string update_statement() const;

    const DirectoryLink& link_;
    DirectoryOutcome& outcome_;
    DirectoryFailures& failures_;
    EnabledColumns enabled_columns_;
    std::string key_statement_;
    std::string insert_statement_;
    std::string update_statement_;
    std::int64_t vanished_ = 0;
    std::set<std::string> judged_;  // records of leavers of whom the guard knows
    std::int64_t done_ = 0;
    std::int64_t total_ = 0;
    std::string too_many_;
    std::int64_t strangers_ = 0;        // new entries that have failed
    std::int64_t refused_ = 0;          // entries with a problem
    std::int64_t failed_ = 0;           // in the merge
    Passage disables_ = Passage::held;  // of users to be disabled
};

}  // namespace crmsync
