// The SQL that brings a complete reading of the directory into the CRM. All statements of the
// import are generated here, set-based; those that touch the CRM run as the link's owner, those
// that touch our own tables as ourselves, never both in one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/directory_entries.h"
#include "server/directory_link.h"
#include "server/directory_row.h"

namespace crmsync {

// What follows from absence, and passes the guard: each kind by itself.
enum class Absence { vanished, disabled, memberships };

struct Held {
    Absence kind;
    std::int64_t count;
};

struct DirectoryOutcome {
    std::int64_t read = 0;
    std::int64_t created = 0;
    std::int64_t updated = 0;
    std::int64_t vanished = 0;
    std::int64_t disabled = 0;
    std::int64_t failed = 0;
    std::int64_t members_added = 0;
    std::int64_t members_removed = 0;
    std::vector<Held> held;  // what the guard holds back
};

// The guard: lets deletes of one kind pass, or adds what it holds to the outcome. Requires a
// transaction; what passes is counted there, unless somebody has confirmed so many. count is how
// many are meant, of how many.
bool deletes_may_pass(const DirectoryLink& link, Absence kind, std::int64_t count, std::int64_t of,
                      DirectoryOutcome& outcome);

// Notes, at the end of a complete run, what it held back: for confirm_deletes, and in words for the
// views. Returns the words; empty: nothing. Requires a transaction.
std::string note_held(const DirectoryLink& link, const DirectoryOutcome& outcome);

// Errors that come from one row's values, after which other rows may well pass.
bool is_about_one_row(const pg::Error& error);

// For as long as it lives, statements are planned without nested loops: for joins of the staged
// entries with crmsync.item, whose statistics know nothing of the rows that the run itself writes.
// A nested loop would be taken for cheap and never end. Not around statements of the link's owner,
// whose triggers are not ours to plan.
class NoNestedLoops {
  public:
    NoNestedLoops();
    NoNestedLoops(const NoNestedLoops&) = delete;
    NoNestedLoops& operator=(const NoNestedLoops&) = delete;

    // Not in a destructor: after an error the end of the transaction does the same.
    void end();
};

class DirectoryMerge {
  public:
    // All must outlive the merge.
    DirectoryMerge(const DirectoryLink& link, const DirectoryRowReader& reader,
                   DirectoryOutcome& outcome);

    // Finds out what differs, after a complete search.
    void compare(const DirectorySurvey& survey);

    // Inserts and updates rows of the CRM, in slices with a transaction each. A slice that a row of
    // it makes fail is halved until that row is alone; it becomes a failure and the others go on.
    void merge();

    // Marks users that are gone, and disables them after the grace time, as the guard allows.
    void mark_vanished();

    // Takes away failures of earlier runs that no longer are. Requires a transaction.
    void settle_failures();

  private:
    // Rows of crmsync_change from begin to before end, as block * 1024 + line pointer.
    struct Slice {
        std::int64_t begin;
        std::int64_t end;
    };

    void find_changed();
    void find_duplicates();
    void find_vanished();
    void create_match_functions() const;
    bool seek() const;
    void find_matches();
    void adopt();
    void hold_disabled();
    void record_problems();
    std::int64_t change_size() const;
    void merge_slice(Slice slice);
    void merge_rows(Slice slice);
    static std::string changes_within(Slice slice);
    void hold_mailbox() const;
    void insert_rows(const std::string& within, const std::string& entries);
    std::uint64_t refuse_long_keys(const std::string& table);
    void forget_rows_that_are_not_there();
    void update_rows(const std::string& within);
    void fail(Slice slice, const pg::Error& error);
    void write_failure(const std::string& record, const std::string& code,
                       const std::string& message);
    // SQL expressions: what a column gets, of an entry or of this text; and whether a row has
    // something else there.
    std::string value(std::size_t position) const;
    std::string value(std::size_t position, const std::string& text) const;
    std::string differs(std::size_t position, const std::string& value) const;
    // Whether the directory's value is another one than in the last run.
    static std::string changed(std::size_t position);
    std::string key_statement() const;
    std::string insert_statement() const;
    std::string update_statement() const;

    const DirectoryLink& link_;
    const DirectoryRowReader& reader_;
    DirectoryOutcome& outcome_;
    std::string key_statement_;
    std::string insert_statement_;
    std::string update_statement_;
    std::int64_t vanished_ = 0;
    std::int64_t done_ = 0;
    std::int64_t total_ = 0;
    std::vector<std::string> failed_records_;
};

}  // namespace crmsync
