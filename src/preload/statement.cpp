// DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, and CREATE DATABASE ... TEMPLATE want
// nobody connected; DROP and ALTER EXTENSION want the tables. Workers are held back for the rest of
// such a transaction, after checking that the caller may do this at all, so that nobody else can
// stop them.
#include "preload/statement.h"

#include "preload/shared_state.h"
#include "preload/worker.h"

namespace crmsync {

namespace {

ProcessUtility_hook_type next_hook = nullptr;

const char extension_name[] = "crmsync";

void hold_own_database(const char* name) {
    const Oid database = get_database_oid(name, true);
    if (OidIsValid(database) && owns_database(database, GetUserId()))
        hold_workers(database);
}

const char* string_option(const List* options, const char* name) {
    ListCell* cell;
    foreach (cell, options) {
        DefElem* option = lfirst_node(DefElem, cell);
        if (strcmp(option->defname, name) == 0 && option->arg != nullptr)
            return defGetString(option);
    }
    return nullptr;
}

bool may_create_databases() {
    HeapTuple role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
    if (!HeapTupleIsValid(role))
        return false;
    const auto* form = reinterpret_cast<const FormData_pg_authid*>(GETSTRUCT(role));
    const bool may = form->rolsuper || form->rolcreatedb;
    ReleaseSysCache(role);
    return may;
}

bool names_extension(const DropStmt* statement) {
    if (statement->removeType != OBJECT_EXTENSION)
        return false;
    ListCell* cell;
    foreach (cell, statement->objects)
        if (strcmp(strVal(lfirst(cell)), extension_name) == 0)
            return true;
    return false;
}

bool owns_our_extension() {
    const Oid extension = get_extension_oid(extension_name, true);
    return OidIsValid(extension) && owns_extension(extension, GetUserId());
}

// A relation with one of our triggers is locked before anything of ours: writers hold their
// relation first and the change log last, and the other way round would be a deadlock with them.
void lock_captured_relations() {
    const Oid schema = get_namespace_oid(extension_name, true);
    if (!OidIsValid(schema))
        return;
    List* relations = NIL;
    Relation catalog = table_open(TriggerRelationId, AccessShareLock);
    SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, nullptr, 0, nullptr);
    while (HeapTuple tuple = systable_getnext(scan)) {
        const auto* form = reinterpret_cast<const FormData_pg_trigger*>(GETSTRUCT(tuple));
        if (!form->tgisinternal && get_func_namespace(form->tgfoid) == schema &&
            get_rel_namespace(form->tgrelid) != schema)
            relations = list_append_unique_oid(relations, form->tgrelid);
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);

    list_sort(relations, list_oid_cmp);  // as everybody who does the same
    ListCell* cell;
    foreach (cell, relations)
        LockRelationOid(lfirst_oid(cell), AccessExclusiveLock);
    list_free(relations);
}

void before_statement(const Node* statement) {
    switch (nodeTag(statement)) {
        case T_DropdbStmt:
            hold_own_database(reinterpret_cast<const DropdbStmt*>(statement)->dbname);
            break;
        case T_RenameStmt: {
            const auto* rename = reinterpret_cast<const RenameStmt*>(statement);
            if (rename->renameType == OBJECT_DATABASE)
                hold_own_database(rename->subname);
            break;
        }
        case T_AlterDatabaseStmt: {
            const auto* alter = reinterpret_cast<const AlterDatabaseStmt*>(statement);
            if (string_option(alter->options, "tablespace") != nullptr)
                hold_own_database(alter->dbname);
            break;
        }
        case T_CreatedbStmt: {
            const auto* create = reinterpret_cast<const CreatedbStmt*>(statement);
            const char* source = string_option(create->options, "template");
            if (source != nullptr && may_create_databases())
                hold_own_database(source);
            break;
        }
        case T_DropStmt:
            if (names_extension(reinterpret_cast<const DropStmt*>(statement)) &&
                owns_our_extension()) {
                hold_workers(MyDatabaseId);
                lock_captured_relations();
            }
            break;
        case T_AlterExtensionStmt:
            if (strcmp(reinterpret_cast<const AlterExtensionStmt*>(statement)->extname,
                       extension_name) == 0 &&
                owns_our_extension())
                hold_workers(MyDatabaseId);
            break;
        default:
            break;
    }
}

// What is to be done once a statement has succeeded.
enum class Afterwards { nothing, scan_databases, probe, wake };

Afterwards what_follows(const Node* statement) {
    switch (nodeTag(statement)) {
        case T_CreatedbStmt:
        case T_DropdbStmt:
        case T_AlterDatabaseStmt:
            return Afterwards::scan_databases;
        case T_RenameStmt:
            return reinterpret_cast<const RenameStmt*>(statement)->renameType == OBJECT_DATABASE
                       ? Afterwards::scan_databases
                       : Afterwards::nothing;
        case T_CreateExtensionStmt:
            return strcmp(reinterpret_cast<const CreateExtensionStmt*>(statement)->extname,
                          extension_name) == 0
                       ? Afterwards::probe
                       : Afterwards::nothing;
        case T_TransactionStmt:
            return reinterpret_cast<const TransactionStmt*>(statement)->kind ==
                           TRANS_STMT_COMMIT_PREPARED
                       ? Afterwards::wake
                       : Afterwards::nothing;
        default:
            return Afterwards::nothing;
    }
}

void do_afterwards(Afterwards what) {
    switch (what) {
        case Afterwards::scan_databases:
            scan_databases_at_commit();
            break;
        case Afterwards::probe:
            probe_at_commit();
            break;
        case Afterwards::wake:
            // What was committed may have been CREATE EXTENSION.
            if (!wake_worker() && lacks_worker(MyDatabaseId) &&
                OidIsValid(get_extension_oid(extension_name, true)))
                probe_at_commit();
            break;
        case Afterwards::nothing:
            break;
    }
}

void process_statement(PlannedStmt* planned, const char* query, bool read_only_tree,
                       ProcessUtilityContext context, ParamListInfo parameters,
                       QueryEnvironment* environment, DestReceiver* destination,
                       QueryCompletion* completion) {
    const Node* statement = planned->utilityStmt;
    const Afterwards afterwards = what_follows(statement);
    before_statement(statement);
    if (next_hook != nullptr)
        next_hook(planned, query, read_only_tree, context, parameters, environment, destination,
                  completion);
    else
        standard_ProcessUtility(planned, query, read_only_tree, context, parameters, environment,
                                destination, completion);
    do_afterwards(afterwards);
}

}  // namespace

void install_statement_hook() {
    next_hook = ProcessUtility_hook;
    ProcessUtility_hook = process_statement;
}

}  // namespace crmsync
