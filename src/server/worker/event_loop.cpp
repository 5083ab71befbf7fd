#include "server/worker/event_loop.h"

#include <algorithm>
#include <utility>

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
}

#include "server/postgres/compatibility.h"

namespace crmsync {

EventLoop::EventLoop(int descriptor) {
    events_ = pg::guard([&] {
        WaitEventSet* events = create_wait_event_set(3);
        AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
        AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
        AddWaitEventToSet(events, WL_SOCKET_READABLE, descriptor, nullptr, nullptr);
        return events;
    });
}

EventLoop::Woken EventLoop::wait(std::optional<std::chrono::milliseconds> longest) {
    const long timeout =
        longest ? std::clamp<long>(static_cast<long>(longest->count()), 0, 60'000) : 60'000;
    const int what = pg::guard([&] {
        WaitEvent event{};
        const int count = WaitEventSetWait(events_, timeout, &event, 1, PG_WAIT_EXTENSION);
        if (count > 0 && (event.events & WL_LATCH_SET) != 0) {
            ResetLatch(MyLatch);
        }
        CHECK_FOR_INTERRUPTS();
        return count == 0 ? 0 : static_cast<int>(event.events);
    });
    if (ConfigReloadPending) {
        pg::guard([] {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
        });
        reloaded_ = true;
    }
    return what == 0                    ? Woken::by_time
           : (what & WL_LATCH_SET) != 0 ? Woken::by_latch
                                        : Woken::by_network;
}

bool EventLoop::take_reloaded() {
    return std::exchange(reloaded_, false);
}

}  // namespace crmsync
