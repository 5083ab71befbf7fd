#include "server/configuration/identity.h"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
}

#include "server/postgres/preload.h"
#include "server/postgres/result_set.h"

extern "C" {
#include "funcapi.h"
#include "utils/builtins.h"
}

namespace crmsync {

Identity current_identity() {
    return {static_cast<std::int64_t>(GetSystemIdentifier()), MyDatabaseId,
            preload().environment()};
}

namespace {

Datum identity_row(FunctionCallInfo call) {
    const Identity identity = current_identity();
    return pg::guard([&] {
        TupleDesc description;
        if (get_call_result_type(call, nullptr, &description) != TYPEFUNC_COMPOSITE) {
            elog(ERROR, "return type must be a row type");
        }
        Datum values[3] = {Int64GetDatum(identity.system_identifier),
                           ObjectIdGetDatum(identity.database),
                           CStringGetTextDatum(identity.environment.c_str())};
        bool nulls[3] = {false, false, false};
        return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
    });
}

}  // namespace

}  // namespace crmsync

CRMSYNC_SQL_FUNCTION(crmsync_current_identity, crmsync::identity_row);
