// check_expression: whether a text is one SQL expression, and whether its sub-queries say of every
// column which relation it belongs to; check_order_by: the same of what follows ORDER BY. An
// unqualified name there would silently mean another column when a relation gets or loses one.
#include "server/postgres/boundary.h"

extern "C" {
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
}

namespace crmsync {

namespace {

// The walk is through PostgreSQL's parse tree, inside one guard: only plain data below.
struct Scope {
    const Scope* outer;
    List* from;
};

struct Walk {
    const Scope* scope;  // nullptr: not in a sub-query
};

bool walk(Node* node, void* context);

bool walk_children(Node* node, Walk* context) {
#if PG_VERSION_NUM >= 160000
    return raw_expression_tree_walker(node, walk, context);
#else
    const auto callback = reinterpret_cast<void (*)()>(walk);
    return raw_expression_tree_walker(node, reinterpret_cast<bool (*)()>(callback), context);
#endif
}

bool is_named(const Alias* alias, const char* name) {
    return alias != nullptr && strcmp(alias->aliasname, name) == 0;
}

// Whether a FROM item is called so: then the name is the whole row, or a function's only column.
bool names_item(const Node* item, const char* name) {
    switch (nodeTag(item)) {
        case T_RangeVar: {
            const auto* relation = reinterpret_cast<const RangeVar*>(item);
            return relation->alias == nullptr ? strcmp(relation->relname, name) == 0
                                              : is_named(relation->alias, name);
        }
        case T_RangeSubselect:
            return is_named(reinterpret_cast<const RangeSubselect*>(item)->alias, name);
        case T_RangeFunction:
            return is_named(reinterpret_cast<const RangeFunction*>(item)->alias, name);
        case T_RangeTableFunc:
            return is_named(reinterpret_cast<const RangeTableFunc*>(item)->alias, name);
        case T_JoinExpr: {
            const auto* join = reinterpret_cast<const JoinExpr*>(item);
            return is_named(join->alias, name) || names_item(join->larg, name) ||
                   names_item(join->rarg, name);
        }
        default:
            return false;
    }
}

bool is_relation(const Scope* scope, const char* name) {
    if (strcmp(name, "r") == 0)
        return true;
    for (; scope != nullptr; scope = scope->outer) {
        ListCell* cell;
        foreach (cell, scope->from) {
            if (names_item(static_cast<const Node*>(lfirst(cell)), name))
                return true;
        }
    }
    return false;
}

void check_column(const ColumnRef* column, const Scope* scope) {
    const auto* field = static_cast<const Node*>(linitial(column->fields));
    if (scope == nullptr || list_length(column->fields) != 1 || !IsA(field, String))
        return;
    const char* name = strVal(field);
    if (!is_relation(scope, name)) {
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
                 errmsg("unqualified column \"%s\" in a sub-query", name),
                 errhint("Write r.%s for a column of the source, or put the name of the relation "
                         "it belongs to before it.",
                         name)));
    }
}

bool walk(Node* node, void* context) {
    auto* state = static_cast<Walk*>(context);
    if (node == nullptr)
        return false;
    if (IsA(node, ColumnRef)) {
        check_column(reinterpret_cast<const ColumnRef*>(node), state->scope);
        return false;
    }
    if (!IsA(node, SelectStmt))
        return walk_children(node, state);
    const Scope scope{state->scope, reinterpret_cast<SelectStmt*>(node)->fromClause};
    Walk inner{&scope};
    return walk_children(node, &inner);
}

// Nothing but a list of expressions.
bool has_no_clause(const SelectStmt* select) {
    return select->op == SETOP_NONE && select->fromClause == NIL &&
           select->whereClause == nullptr && select->groupClause == NIL &&
           select->havingClause == nullptr && select->windowClause == NIL &&
           select->distinctClause == NIL && select->intoClause == nullptr &&
           select->valuesLists == NIL && select->sortClause == NIL &&
           select->limitCount == nullptr && select->limitOffset == nullptr &&
           select->lockingClause == NIL && select->withClause == nullptr;
}

// The expression of "SELECT expression", or nullptr when the text is more, or something else.
Node* parse_expression(const char* expression) {
    List* statements = raw_parser(psprintf("SELECT %s\n", expression), RAW_PARSE_DEFAULT);
    if (list_length(statements) != 1)
        return nullptr;
    Node* statement = linitial_node(RawStmt, statements)->stmt;
    if (!IsA(statement, SelectStmt))
        return nullptr;
    const auto* select = reinterpret_cast<const SelectStmt*>(statement);
    if (list_length(select->targetList) != 1 || !has_no_clause(select))
        return nullptr;
    const auto* target = linitial_node(ResTarget, select->targetList);
    const bool is_alone =
        target->name == nullptr && target->indirection == NIL && !IsA(target->val, SetToDefault);
    return is_alone ? target->val : nullptr;
}

void check_expression(const char* expression) {
    Node* parsed = parse_expression(expression);
    if (parsed == nullptr) {
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("not a single SQL expression"),
                        errhint("Write one expression in parentheses, over the source row r.")));
    }
    Walk outside{nullptr};
    walk(parsed, &outside);
}

// The items of "ORDER BY items", or NIL when the text is more, or something else.
List* parse_order(const char* order_by) {
    List* statements = raw_parser(psprintf("SELECT ORDER BY %s\n", order_by), RAW_PARSE_DEFAULT);
    if (list_length(statements) != 1)
        return NIL;
    Node* statement = linitial_node(RawStmt, statements)->stmt;
    if (!IsA(statement, SelectStmt))
        return NIL;
    auto* select = reinterpret_cast<SelectStmt*>(statement);
    List* items = select->sortClause;
    select->sortClause = NIL;
    return select->targetList == NIL && has_no_clause(select) ? items : NIL;
}

void check_order_by(const char* order_by) {
    List* items = parse_order(order_by);
    if (items == NIL) {
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("not what ORDER BY takes")));
    }
    Walk outside{nullptr};
    walk(reinterpret_cast<Node*>(items), &outside);
}

Datum check_order_by_body(FunctionCallInfo fcinfo) {
    pg::guard([&] { check_order_by(text_to_cstring(PG_GETARG_TEXT_PP(0))); });
    return Datum{0};
}

Datum check_expression_body(FunctionCallInfo fcinfo) {
    pg::guard([&] { check_expression(text_to_cstring(PG_GETARG_TEXT_PP(0))); });
    return Datum{0};
}

}  // namespace

}  // namespace crmsync

extern "C" {

PG_FUNCTION_INFO_V1(crmsync_check_expression);
PGDLLEXPORT Datum crmsync_check_expression(PG_FUNCTION_ARGS) {
    return crmsync::pg::enter(fcinfo, crmsync::check_expression_body);
}

PG_FUNCTION_INFO_V1(crmsync_check_order_by);
PGDLLEXPORT Datum crmsync_check_order_by(PG_FUNCTION_ARGS) {
    return crmsync::pg::enter(fcinfo, crmsync::check_order_by_body);
}
}
