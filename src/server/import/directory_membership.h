// Memberships of mapped groups: reads the members from the directory, then inserts and deletes
// rows of the CRM's membership relation, set-based, and only for groups that are mapped.
#pragma once

#include <map>
#include <string>

#include "directory/group.h"
#include "server/import/directory_link.h"
#include "server/import/directory_merge.h"

namespace crmsync {

class DirectoryMembership {
  public:
    // All must outlive it.
    DirectoryMembership(const DirectoryLink& link, DirectoryOutcome& outcome,
                        DirectoryFailures& failures)
        : link_(link), outcome_(outcome), failures_(failures) {}

    // Reads the members of all mapped groups into crmsync_member; no transaction is open while the
    // directory is read. A group that cannot be read is left alone, and told in problem().
    void read(directory::Connection& connection, const directory::ServerKind& kind,
              const std::string& user_filter, int page_size);

    // Makes the CRM's memberships those that were read. One that the CRM refuses is a failure of
    // its user; after many of these it is given up, and told in problem(). What the guard holds
    // back stays; confirm_deletes lets it go at the next run.
    void merge();

    // Why some groups or memberships could not be brought in; empty: all were.
    const std::string& problem() const noexcept { return problem_; }

  private:
    // SQL: the mapped groups that are known whole, as g(name, value).
    std::string groups() const;
    std::string fixed_columns() const;
    std::string fixed_values() const;
    std::string fixed_condition() const;
    void merge_read();
    void find_nameless();
    void find_wanted();
    void find_missing();
    void find_superfluous();
    void hold_superfluous();
    void insert_missing(Slice slice);
    void delete_superfluous(Slice slice);
    void settle_gone();
    void find_members_of_unread();
    std::string activity() const;
    void run_over(const std::string& table, void (DirectoryMembership::*work)(Slice));
    void fail(const std::string& table, Slice slice, const pg::Error& error);
    [[noreturn]] void give_up(const pg::Error& error);

    const DirectoryLink& link_;
    DirectoryOutcome& outcome_;
    DirectoryFailures& failures_;
    Passage passage_ = Passage::held;  // of what is superfluous
    bool all_are_known_ = false;       // no entry has failed, or is held
    // crm_group and value of the mapped groups: what was read whole, and what was not
    std::map<std::string, std::string> read_groups_;
    std::map<std::string, std::string> unread_groups_;
    pg::TextArray unsettled_;  // users whose memberships the CRM does not take or let go, or who
                               // are in a group that was not read
    bool gave_up_ = false;
    std::string problem_;
};

}  // namespace crmsync
