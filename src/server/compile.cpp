// The SQL function crmsync.compile: makes the temporary view crmsync_compiled of a query whose text
// comes from an administrator who need not be a superuser, with the rights of one.
//
// Analysing a query runs hardly anything of it, but constants are converted to their types at once,
// and the type may be an array or a row of a domain whose check calls any function. So as long as
// the view is made, no function that an expression names is let run at all. The view is made here
// rather than by a statement, so that event triggers, which may call what they like, are not
// concerned.
#include "server/postgres/boundary.h"

extern "C" {
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "commands/view.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
}

namespace crmsync {

namespace {

object_access_hook_type next_hook = nullptr;

void refuse_to_run(ObjectAccessType access, Oid object_class, Oid object, int part, void* more) {
    if (access == OAT_FUNCTION_EXECUTE) {
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("a constant in it belongs to a domain with a check"),
                        errhint("Compare with the text of the column instead.")));
    }
    if (next_hook != nullptr) {
        next_hook(access, object_class, object, part, more);
    }
}

// While it lives, no function is run by an expression.
class NothingRuns {
  public:
    NothingRuns() {
        next_hook = object_access_hook;
        object_access_hook = refuse_to_run;
    }
    ~NothingRuns() { object_access_hook = next_hook; }
    NothingRuns(const NothingRuns&) = delete;
    NothingRuns& operator=(const NothingRuns&) = delete;
};

void make_view(const char* query) {
    // The line feed ends a comment that the query may end with.
    const char* statement = psprintf("CREATE TEMPORARY VIEW crmsync_compiled AS %s\n", query);
    List* statements = raw_parser(statement, RAW_PARSE_DEFAULT);
    const auto* first = list_length(statements) == 1 ? linitial_node(RawStmt, statements) : nullptr;
    if (first == nullptr || !IsA(first->stmt, ViewStmt)) {
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("not a single query")));
    }
    (void)DefineView(reinterpret_cast<ViewStmt*>(first->stmt), statement, first->stmt_location,
                     first->stmt_len);
    CommandCounterIncrement();
}

Datum compile(FunctionCallInfo call) {
    const NothingRuns nothing_runs;
    pg::guard([&] { make_view(text_to_cstring(DatumGetTextPP(call->args[0].value))); });
    return Datum(0);
}

}  // namespace

}  // namespace crmsync

CRMSYNC_SQL_FUNCTION(crmsync_compile, crmsync::compile);
