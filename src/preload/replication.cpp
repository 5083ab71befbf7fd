// The row trigger on every table of ours. Where everything is published (FOR ALL TABLES) and the
// subscriber has the extension, too, rows about one database's links and items arrive in the
// other's tables. They say nothing there: none is applied, and none can meet a row of the other
// side and stop the subscription.
//
// What writes our tables itself, with session_replication_role = replica, is no replication: the
// process that applies is known by its kind, or by the origin of what it writes.
#include "preload/compatibility.h"

extern "C" {

PG_FUNCTION_INFO_V1(crmsync_ignore_replicated);
PGDLLEXPORT Datum crmsync_ignore_replicated(PG_FUNCTION_ARGS) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("function \"ignore_replicated\" must be called as a trigger")));
    const auto* data = reinterpret_cast<const TriggerData*>(fcinfo->context);
    if (!TRIGGER_FIRED_BEFORE(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("function \"ignore_replicated\" must be called before each row")));
    if (crmsync::applies_replication())
        return PointerGetDatum(nullptr);
    return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple
                                                                   : data->tg_trigtuple);
}
}
