// Items that we make in folders that are read. The next reading names them, as it names whatever
// has come since the one before: an echo. A server names nothing, though, that has come and gone
// between two readings. So what was made before a reading began, and is not named by its end, is
// looked at: its user may have deleted it. A mailbox notes since when it has items that no reading
// had to name yet; which ones is remembered here, by a hash of their ids, and after a restart all
// of that time are looked at.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sync/task.h"

namespace crmsync {

class Echoes {
  public:
    // Finds out once, in the current transaction, where other processes have made items. To be
    // called before this one makes any.
    void inherit();

    // Such an item was made.
    void made(int mailbox, const std::string& id);

    // The folder is going to be read on from its state.
    void begin(int mailbox);

    // Whether the end of a reading matters although no page names anything.
    bool awaited(int mailbox) const;

    // A page has come, whose state is recorded.
    void take(const sync::FolderPage& page);

    // The reading has come to its end. Notes, in the current transaction, what is to be looked at.
    // Returns whether that is anything.
    bool end(int mailbox);

  private:
    struct Folder {
        std::vector<std::uint64_t> made;  // since the reading under way began
        std::vector<std::uint64_t> due;   // before it: it has to name them
        std::vector<std::uint64_t> named;
        std::chrono::system_clock::time_point began;
        bool inherited = false;  // another process has made items there
    };

    std::map<int, Folder> folders_;
    bool has_inherited_ = false;
};

// Notes in the mailboxes, in the current transaction, that something was made there.
void await_echoes(const std::vector<int>& mailboxes);

}  // namespace crmsync
