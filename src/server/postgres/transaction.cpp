#include "server/postgres/transaction.h"

#include <cstdint>
#include <string>

#include "server/postgres/compatibility.h"
#include "server/postgres/encoding.h"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
}

namespace crmsync::pg {

namespace {

struct Version {
    char text[64];  // empty: there is no extension
};

Version read_version() {
    Version version = {};
    ScanKeyData name;
    ScanKeyInit(&name, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum("crmsync"));
    const Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
    const SysScanDesc scan =
        systable_beginscan(extensions, ExtensionNameIndexId, true, nullptr, 1, &name);
    if (const HeapTuple extension = systable_getnext(scan)) {
        bool is_null;
        const Datum value = heap_getattr(extension, Anum_pg_extension_extversion,
                                         RelationGetDescr(extensions), &is_null);
        strlcpy(version.text, TextDatumGetCString(value), sizeof(version.text));
    }
    systable_endscan(scan);
    table_close(extensions, AccessShareLock);
    return version;
}

// Who updates the extension ends this process before: what it has once served it does serve.
bool version_fits() {
    static bool fits = false;
    fits = fits || serves(read_version().text);
    return fits;
}

bool lock_extension() {
    const Oid extension = get_extension_oid("crmsync", true);
    return OidIsValid(extension) &&
           ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock) &&
           OidIsValid(get_extension_oid("crmsync", true)) && version_fits();
}

// Of transactions that have written something: how many of this process have ended, and how many
// of others there had been when all that those had written was last known to be durable. One of
// this process that has changed the CRM and did not wait is as one of others.
std::uint64_t own_ended = 0;
std::uint64_t durable_of_others = 0;

// Deferred constraints speak up with each statement, while the rows that break them are known, and
// while it runs as the owner of a link. One that left them for later would be refused.
void set_constraints_immediate() {
    ConstraintsSetStmt* all = makeNode(ConstraintsSetStmt);
    all->constraints = NIL;
    all->deferred = false;
    AfterTriggerSetState(all);
    pfree(all);
}

bool has_written() {
    return TransactionIdIsValid(GetTopTransactionIdIfAny());
}

}  // namespace

void Transaction::start(std::string_view activity, Isolation isolation) {
    const std::string text(activity);
    const char* shown = text.c_str();
    const int level = isolation == repeatable_read ? XACT_REPEATABLE_READ : XACT_READ_COMMITTED;
    guard([&] {
        SetCurrentStatementStartTimestamp();
        StartTransactionCommand();
        XactIsoLevel = level;
        set_constraints_immediate();
        prepare_encoding();
        pgstat_report_activity(STATE_RUNNING, from_utf8(shown));
    });
}

Transaction::Transaction(std::string_view activity, Isolation isolation) {
    // From here on an ERROR leaves a transaction behind that must be aborted.
    open_ = true;
    try {
        start(activity, isolation);
        if (!guard([] { return lock_extension(); })) {
            throw ExtensionBusy{};
        }
    } catch (...) {
        finish();
        throw;
    }
}

Transaction::Transaction(std::string_view activity, WithoutExtension) {
    open_ = true;
    try {
        start(activity, read_committed);
    } catch (...) {
        finish();
        throw;
    }
}

std::optional<std::string> extension_version() {
    Transaction transaction("looking for the extension", Transaction::WithoutExtension{});
    const Version version = guard([] { return read_version(); });
    return version.text[0] != '\0' ? std::optional<std::string>(version.text) : std::nullopt;
}

bool serves(std::string_view version) {
    return version == CRMSYNC_VERSION;
}

Transaction::~Transaction() {
    if (open_) {
        finish();
    }
}

void Transaction::finish() noexcept {
    open_ = false;
    guard_cleanup([] {
        own_ended += has_written();
        // Of a statement that the error has ended.
        disable_timeout(STATEMENT_TIMEOUT, false);
        AbortCurrentTransaction();
        pgstat_report_activity(STATE_IDLE, nullptr);
    });
}

void Transaction::end() {
    guard([] {
        const bool wrote = has_written();
        CommitTransactionCommand();
        own_ended += wrote;
        pgstat_report_stat(true);
    });
    open_ = false;
}

void Transaction::commit() {
    guard([] {
        if (has_written()) {
            ForceSyncCommit();
        }
    });
    end();
}

// The record of its own commit follows those of all that it has seen. Where nobody else has
// written anything since it was last done, nothing is left to do.
void Transaction::commit_all_seen() {
    const std::uint64_t others = ended_transactions() - own_ended;
    if (others == durable_of_others) {
        commit();
    } else {
        guard([] { (void)GetTopTransactionId(); });
        commit();
        guard([] {
            // HOLD_INTERRUPTS and RESUME_INTERRUPTS, which are no C++20.
            InterruptHoldoffCount = InterruptHoldoffCount + 1;
            SyncRepWaitForLSN(XactLastCommitEnd, true);
            InterruptHoldoffCount = InterruptHoldoffCount - 1;
        });
        durable_of_others = others;
    }
    // A process that is told to end waits for no standby any more, and gets no error: it ends here,
    // before anything goes out. Whoever cancels the wait has decided that it is long enough.
    if (ProcDiePending) {
        check_interrupts();
    }
}

void Transaction::commit_lazily() {
    guard([] {
        set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
                          true, 0, false);
    });
    end();
}

void Transaction::commit_changes_lazily() {
    const bool wrote = guard([] { return has_written(); });
    commit_lazily();
    own_ended -= wrote;
}

void report_idle(std::string_view activity) {
    const std::string text = in_database_encoding(activity);
    const char* shown = text.c_str();
    guard([&] { pgstat_report_activity(STATE_IDLE, shown); });
}

}  // namespace crmsync::pg
