// The part of Worker that knows which requests may be carried out late: see late_creates.h.
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

// Nothing is forgotten of which the result is not recorded.
void Worker::forget_creates() {
    if (nothing_to_record() && withheld_links_.empty()) {
        creates_.end([&](int mailbox) { return engine_.busy(mailbox); });
    }
}

// An item that is wanted again, and may yet be deleted because we asked for it: whether it is there
// is known when that cannot happen any longer.
void Worker::note_late_delete(int mailbox, const sync::Task& task) {
    if (task.doubtful && is_doubtful(mailbox)) {
        results_.look_again.push_back(mailbox);
    }
}

// Before they are sent.
void Worker::note_doubts() {
    for (const sync::Doubt& doubt : engine_.take_doubts()) {
        if (doubt.answer_lost) {
            mailbox_doubtful_until_[doubt.mailbox] = Clock::now() + create_delay();
        }
        if (is_doubtful(doubt.mailbox)) {
            results_.look_again.push_back(doubt.mailbox);
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
