// What undo.cpp and undo_rows.cpp share: judging what may be brought back, and noting what is done.
#pragma once

#include <string>
#include <string_view>

#include "record/merge.h"
#include "server/postgres/query.h"
#include "sync/task.h"

namespace crmsync {

// Rows of `undoing` that are done.
class UndoneRows {
  public:
    void add(std::string_view step, int mailbox, const std::string& record);
    bool empty() const { return records_.empty(); }

    // In the current transaction.
    void remove() const;

  private:
    pg::TextArray steps_;
    pg::IntegerArray mailboxes_;
    pg::TextArray records_;
};

// What is to be written where the value is still the one that we wrote.
struct Judged {
    record::Values restored;
    std::string left;  // names of properties that somebody has changed since
    std::string lost;  // and of those whose old value is not kept
};

Judged judge(const record::Layout& layout, const record::Values& now, const record::Values& old,
             const record::Values& written);

// For the history: what was not brought back, and why.
sync::Outcome left_alone(int mailbox, const std::string& record, sync::Action action,
                         const char* code, std::string message);
sync::Outcome not_kept(int mailbox, const std::string& record, sync::Action action,
                       const std::string& properties);
sync::Outcome changed_since(int mailbox, const std::string& record, sync::Action action,
                            const std::string& properties);

}  // namespace crmsync
