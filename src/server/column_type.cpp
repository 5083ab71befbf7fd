// What the types of columns are, from the catalog's caches. The queries of a link are built from
// many columns, and a function in SQL would be planned anew for each.
#include "server/postgres/boundary.h"

extern "C" {
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace {

using namespace crmsync;

Datum oid_or_null(FunctionCallInfo call, Oid oid) {
    call->isnull = !OidIsValid(oid);
    return ObjectIdGetDatum(oid);
}

Datum column_type(FunctionCallInfo call) {
    const Oid relation = DatumGetObjectId(call->args[0].value);
    const Datum name = call->args[1].value;  // in the database's encoding, as the catalog's
    return oid_or_null(call, pg::guard([&] {
                           const AttrNumber number =
                               get_attnum(relation, TextDatumGetCString(name));
                           return number > 0 ? get_atttype(relation, number) : InvalidOid;
                       }));
}

Datum base_type(FunctionCallInfo call) {
    const Oid type = DatumGetObjectId(call->args[0].value);
    return oid_or_null(call, pg::guard([&] {
                           const bool exists =
                               SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type));
                           return exists ? getBaseType(type) : InvalidOid;
                       }));
}

}  // namespace

CRMSYNC_SQL_FUNCTION(crmsync_column_type, column_type);
CRMSYNC_SQL_FUNCTION(crmsync_base_type, base_type);
