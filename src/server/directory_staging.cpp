#include "server/directory_staging.h"

#include <cstring>

#include "server/encoding.h"
#include "server/query.h"
#include "server/transaction.h"

extern "C" {
#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/copy.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "port/pg_bswap.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace crmsync {

namespace {

constexpr std::size_t flush_size = 1u << 20;
constexpr std::string_view copy_header("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr int fixed_columns = 6;

void append_number(std::string& buffer, std::int16_t number) {
    const std::uint16_t wire = pg_hton16(static_cast<std::uint16_t>(number));
    buffer.append(reinterpret_cast<const char*>(&wire), sizeof(wire));
}

void append_number(std::string& buffer, std::int32_t number) {
    const std::uint32_t wire = pg_hton32(static_cast<std::uint32_t>(number));
    buffer.append(reinterpret_cast<const char*>(&wire), sizeof(wire));
}

// What the callback of COPY reads from; COPY gives callbacks no argument of their own.
struct Source {
    const char* next;
    std::size_t left;
};
Source source;

int read_source(void* buffer, int, int most) {
    const std::size_t count = Min(source.left, static_cast<std::size_t>(most));
    memcpy(buffer, source.next, count);
    source.next += count;
    source.left -= count;
    return static_cast<int>(count);
}

void copy_into(const char* table) {
    RangeVar* name = makeRangeVar(pstrdup("pg_temp"), pstrdup(table), -1);
    Relation relation = table_openrv(name, RowExclusiveLock);
    ParseState* state = make_parsestate(nullptr);
    addRangeTableEntryForRelation(state, relation, RowExclusiveLock, nullptr, false, false);
    List* options = list_make1(
        makeDefElem(pstrdup("format"), reinterpret_cast<Node*>(makeString(pstrdup("binary"))), -1));
    PushActiveSnapshot(GetTransactionSnapshot());
    CopyFromState copy =
        BeginCopyFrom(state, relation, nullptr, nullptr, false, read_source, NIL, options);
    CopyFrom(copy);
    EndCopyFrom(copy);
    PopActiveSnapshot();
    table_close(relation, NoLock);
}

}  // namespace

DirectoryCopy::DirectoryCopy(const DirectoryLink& link, std::string table, int columns,
                             const std::string& what)
    : link_(link),
      table_(std::move(table)),
      columns_(columns),
      activity_("staging " + what + " for link " + link.name),
      buffer_(copy_header) {}

void DirectoryCopy::begin_row() {
    append_number(buffer_, static_cast<std::int16_t>(columns_));
}

void DirectoryCopy::add(std::string_view value) {
    if (pg::encoding_differs()) {
        const std::string converted = pg::in_database_encoding(value);
        append_number(buffer_, static_cast<std::int32_t>(converted.size()));
        buffer_.append(converted);
        return;
    }
    append_number(buffer_, static_cast<std::int32_t>(value.size()));
    buffer_.append(value);
}

void DirectoryCopy::add_null() {
    append_number(buffer_, std::int32_t{-1});
}

void DirectoryCopy::flush_if_large() {
    if (buffer_.size() >= flush_size) {
        flush();
    }
}

void DirectoryCopy::flush() {
    if (buffer_.size() == copy_header.size()) {
        return;
    }
    append_number(buffer_, std::int16_t{-1});
    source = {buffer_.data(), buffer_.size()};
    const char* table = table_.c_str();
    pg::Transaction transaction(activity_, pg::Transaction::Isolation::read_committed);
    check_still_runs(link_);
    pg::guard([&] { copy_into(table); });
    transaction.commit_lazily();
    buffer_.assign(copy_header);
}

std::string literal(std::string_view text) {
    return pg::query("SELECT pg_catalog.quote_literal($1)", text).string(0, 0);
}

int entry_columns(const DirectoryLink& link) {
    return fixed_columns + static_cast<int>(link.mappings.size());
}

void create_staging(const DirectoryLink& link) {
    std::string values;
    for (std::size_t i = 0; i < link.mappings.size(); ++i) {
        values += ", v" + std::to_string(i) + " text COLLATE \"C\"";
    }
    const std::string tables[] = {
        R"(CREATE TEMPORARY TABLE crmsync_entry (
               key text COLLATE "C" NOT NULL, change_key text COLLATE "C" NOT NULL, problem text,
               dn text COLLATE "C", name text COLLATE "C", login text COLLATE "C")" +
            values + ")",
        R"(CREATE TEMPORARY TABLE crmsync_change (
               entry tid, key text COLLATE "C", record text COLLATE "C", old_key text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_created (entry tid, record text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_match (entry tid, record text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_sought (entry tid, key text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_member (
               crm_group text COLLATE "C", form text COLLATE "C", member text COLLATE "C"))",
    };
    for (const std::string& statement : tables) {
        pg::query(statement, {}, {.once = true});
    }
    const pg::Rows owner = pg::query(
        "SELECT pg_catalog.quote_ident(rolname) FROM "
        "pg_catalog.pg_roles WHERE oid = $1::oid",
        static_cast<std::int64_t>(link.owner));
    const std::string role = owner.string(0, 0);
    pg::query(
        "GRANT SELECT ON pg_temp.crmsync_entry, pg_temp.crmsync_change, "
        "pg_temp.crmsync_member, pg_temp.crmsync_created, pg_temp.crmsync_sought TO " +
            role,
        {}, {.once = true});
    pg::query(
        "GRANT INSERT ON pg_temp.crmsync_created, pg_temp.crmsync_match, pg_temp.crmsync_sought "
        "TO " +
            role,
        {}, {.once = true});
}

void create_inbound_functions(const DirectoryLink& link) {
    for (std::size_t i = 0; i < link.mappings.size(); ++i) {
        const DirectoryMapping& mapping = link.mappings[i];
        if (mapping.inbound.empty()) {
            continue;
        }
        // The line feed ends a comment that the expression may end with.
        pg::query("CREATE FUNCTION pg_temp.crmsync_inbound_" + std::to_string(i) +
                      "(text) RETURNS " + mapping.type + " LANGUAGE sql AS " +
                      literal("SELECT (" + mapping.inbound + "\n)::" + mapping.type),
                  {}, {.owner = link.owner, .once = true});
    }
}

void add_entry(DirectoryCopy& copy, const DirectoryLink& link, const DirectoryRow& row) {
    copy.begin_row();
    copy.add(row.key);
    copy.add(row.change_key);
    if (row.problem.empty()) {
        copy.add_null();
    } else {
        copy.add(row.problem);
    }
    copy.add(row.dn);
    if (link.keeps_memberships()) {
        copy.add(row.name);
        copy.add(row.login);
    } else {
        copy.add_null();
        copy.add_null();
    }
    for (std::size_t i = 0; i < row.values.size(); ++i) {
        if (row.is_null[i]) {
            copy.add_null();
        } else {
            copy.add(row.values[i]);
        }
    }
    copy.flush_if_large();
}

}  // namespace crmsync
