// The SQL function crmsync.goes_with_extension: what ALTER TRIGGER ... DEPENDS ON EXTENSION does,
// without its exclusive lock on the extension. Every transaction of a worker holds a shared one: a
// long transaction would keep whoever enables a link waiting, with the CRM's tables locked, and an
// uncommitted enable_link would keep every worker waiting.
#include "server/postgres/boundary.h"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
}

namespace {

Oid locked_extension() {
    const Oid extension = get_extension_oid("crmsync", false);
    LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
    // It may have been dropped before it was locked.
    return get_extension_oid("crmsync", false);
}

Datum goes_with_extension(FunctionCallInfo call) {
    const Oid relation = DatumGetObjectId(call->args[0].value);
    const Datum name = call->args[1].value;
    crmsync::pg::guard([&] {
        ObjectAddress extension;
        ObjectAddress trigger;
        ObjectAddressSet(extension, ExtensionRelationId, locked_extension());
        ObjectAddressSet(trigger, TriggerRelationId,
                         get_trigger_oid(relation, text_to_cstring(DatumGetTextPP(name)), false));
        deleteDependencyRecordsForSpecific(TriggerRelationId, trigger.objectId,
                                           DEPENDENCY_AUTO_EXTENSION, ExtensionRelationId,
                                           extension.objectId);
        recordDependencyOn(&trigger, &extension, DEPENDENCY_AUTO_EXTENSION);
    });
    return Datum(0);
}

}  // namespace

CRMSYNC_SQL_FUNCTION(crmsync_goes_with_extension, goes_with_extension);
