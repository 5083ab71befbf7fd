// There is no logic for subtransactions: a marker of a savepoint that was rolled back says "look at
// this record" of a record that did not change, which is harmless. The one exception: when the
// buffer overflows inside a subtransaction, what it holds is appended there, and an abort of that
// subtransaction takes along markers of changes made before it. Then the captures concerned are
// marked as a whole.
#include "preload/transaction.h"

#include "preload/change_log.h"
#include "preload/marker_buffer.h"
#include "preload/shared_state.h"

namespace crmsync {

namespace {

// A capture of which markers were appended in a subtransaction that had been made outside of it.
struct Risk {
    int nest_level;
    int32 capture;
    bool lost;  // that subtransaction was aborted
    Risk* next;
};

struct State {
    MarkerBuffer markers;
    Oid schema;
    int lowest_level;  // no marker in the buffer comes from a level below
    Risk* risks;       // in TopTransactionContext
    bool wakes;        // the worker, after commit
    bool closing;      // the append before commit is done
};

constinit State state = {};

void remember_risks(int nest_level) {
    int32 previous = 0;
    const MarkerBuffer& markers = state.markers;
    for (const Marker* m = markers.first(); m != nullptr; m = markers.next(m)) {
        if (m != markers.first() && m->capture == previous)
            continue;
        previous = m->capture;
        bool known = false;
        for (Risk* r = state.risks; r != nullptr && !known; r = r->next)
            known = r->nest_level == nest_level && r->capture == m->capture;
        if (known)
            continue;
        Risk* risk = static_cast<Risk*>(MemoryContextAlloc(TopTransactionContext, sizeof(Risk)));
        *risk = {nest_level, m->capture, false, state.risks};
        state.risks = risk;
    }
}

void append_markers() {
    if (state.markers.empty())
        return;
    const int nest_level = GetCurrentTransactionNestLevel();
    if (state.lowest_level < nest_level)
        remember_risks(nest_level);
    if (append_to_change_log(state.schema, state.markers))
        state.wakes = true;
    state.markers.clear();
}

void add_marker(int32 capture, const char* value, int32 length) {
    state.lowest_level = Min(state.lowest_level, GetCurrentTransactionNestLevel());
    if (state.markers.add(capture, value, length))
        return;
    append_markers();
    state.lowest_level = GetCurrentTransactionNestLevel();
    state.markers.add(capture, value, length);
}

void append_before_commit() {
    for (const Risk* risk = state.risks; risk != nullptr; risk = risk->next)
        if (risk->lost)
            add_marker(risk->capture, nullptr, MarkerBuffer::everything);
    append_markers();
    state.closing = true;
}

void forget_transaction() {
    state.markers.clear();
    state.risks = nullptr;
    state.wakes = false;
    state.closing = false;
}

void on_transaction_event(XactEvent event, void*) {
    switch (event) {
        case XACT_EVENT_PRE_COMMIT:
        case XACT_EVENT_PRE_PREPARE:
            append_before_commit();
            break;
        case XACT_EVENT_COMMIT:
            if (state.wakes)
                wake_worker();
            forget_transaction();
            break;
        case XACT_EVENT_PREPARE:
        case XACT_EVENT_ABORT:
            forget_transaction();
            break;
        case XACT_EVENT_PARALLEL_PRE_COMMIT:
        case XACT_EVENT_PARALLEL_COMMIT:
        case XACT_EVENT_PARALLEL_ABORT:
            break;
    }
}

// A subtransaction ends: what happened in it now belongs to the one around it, or is undone.
void on_subtransaction_event(SubXactEvent event, SubTransactionId, SubTransactionId, void*) {
    if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
        return;
    const int outer_level = GetCurrentTransactionNestLevel() - 1;
    state.lowest_level = Min(state.lowest_level, outer_level);
    for (Risk* risk = state.risks; risk != nullptr; risk = risk->next) {
        if (risk->nest_level <= outer_level)
            continue;
        risk->nest_level = outer_level;
        if (event == SUBXACT_EVENT_ABORT_SUB)
            risk->lost = true;
    }
}

}  // namespace

void mark_change(Oid schema, int32 capture, const char* value, int32 length) {
    if (state.markers.empty()) {
        state.schema = schema;
        state.lowest_level = GetCurrentTransactionNestLevel();
    }
    add_marker(capture, value, length);
    // A row written by another library's callback after ours: there is no later moment.
    if (state.closing)
        append_markers();
}

void wake_at_commit() {
    state.wakes = true;
}

void register_transaction_callbacks() {
    RegisterXactCallback(on_transaction_event, nullptr);
    RegisterSubXactCallback(on_subtransaction_event, nullptr);
}

}  // namespace crmsync
