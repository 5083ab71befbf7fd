// The part of Worker that knows which creates may be carried out twice: see late_creates.h.
#include <chrono>

#include "server/postgres/preload.h"
#include "server/worker/worker.h"

namespace crmsync {

namespace {

std::chrono::milliseconds create_delay() {
    return std::chrono::milliseconds(preload().max_create_delay());
}

}  // namespace

void Worker::doubt_all_creates() {
    doubtful_until_ = Clock::now() + create_delay();
}

// Before they are sent.
void Worker::note_creates_due() {
    for (const sync::CreatesDue& due : engine_.take_creates_due()) {
        if (due.doubtful) {
            mailbox_doubtful_until_[due.mailbox] = Clock::now() + create_delay();
        }
        if (is_doubtful(due.mailbox)) {
            results_.look_again.push_back(due.mailbox);
        }
    }
}

bool Worker::is_doubtful(int mailbox) const {
    const auto now = Clock::now();
    const auto until = mailbox_doubtful_until_.find(mailbox);
    return now < doubtful_until_ || (until != mailbox_doubtful_until_.end() && now < until->second);
}

std::int64_t Worker::next_attempt(int mailbox) const {
    const std::int64_t now = std::chrono::duration_cast<std::chrono::microseconds>(
                                 std::chrono::system_clock::now().time_since_epoch())
                                 .count();
    return now / 2 * 2 + (is_doubtful(mailbox) ? 1 : 0);
}

}  // namespace crmsync
