#include "server/postgres/subtransaction.h"

extern "C" {
#include "access/xact.h"
#include "utils/resowner.h"
}

namespace crmsync::pg {

Subtransaction::Subtransaction() : memory_(CurrentMemoryContext), owner_(CurrentResourceOwner) {
    guard([&] {
        BeginInternalSubTransaction(nullptr);
        MemoryContextSwitchTo(memory_);
    });
    open_ = true;
}

void Subtransaction::release() {
    guard([&] {
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(memory_);
        CurrentResourceOwner = owner_;
    });
    open_ = false;
}

Subtransaction::~Subtransaction() {
    if (open_) {
        guard_cleanup([&] {
            RollbackAndReleaseCurrentSubTransaction();
            MemoryContextSwitchTo(memory_);
            CurrentResourceOwner = owner_;
        });
    }
}

}  // namespace crmsync::pg
