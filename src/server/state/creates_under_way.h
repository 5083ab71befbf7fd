// Mailboxes where items are being created. They are noted before anything is sent: when the worker
// is killed, the next one knows where a create of which nobody has heard may have made an item,
// also when its record is not wanted there any more. There the stamps are listed once more when it
// must have been carried out (see late_creates.h). The note is the time infinity.
#pragma once

#include <functional>
#include <set>

namespace crmsync {

class CreatesUnderWay {
  public:
    // What other processes have left behind is looked for later. Once, in a transaction of its own,
    // before this one begins anything.
    void inherit();

    // Notes, in the current transaction, that something is going to be created there.
    void begin(const std::set<int>& mailboxes);

    // Forgets, in a transaction of its own, mailboxes where nothing goes on. Those where something
    // does are noted again, where they have been listed meanwhile.
    void end(const std::function<bool(int)>& busy);

  private:
    std::set<int> noted_;
    bool has_inherited_ = false;
};

}  // namespace crmsync
