#include "server/import/directory_staging.h"

#include <cstring>

#include "server/postgres/encoding.h"
#include "server/postgres/query.h"
#include "server/postgres/transaction.h"

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

constexpr std::size_t most_staged_bytes = 1u << 20;
constexpr std::string_view copy_header("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr std::string_view copy_trailer("\377\377", 2);

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
    std::string_view parts[3];
    std::size_t part;
};
Source source;

int read_source(void* buffer, int, int most) {
    while (source.part < 2 && source.parts[source.part].empty()) {
        ++source.part;
    }
    std::string_view& part = source.parts[source.part];
    const std::size_t count = Min(part.size(), static_cast<std::size_t>(most));
    memcpy(buffer, part.data(), count);
    part.remove_prefix(count);
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

void CopyRows::begin_row(int columns) {
    append_number(bytes_, static_cast<std::int16_t>(columns));
}

void CopyRows::add(std::string_view value) {
    if (pg::encoding_differs()) {
        const std::string converted = pg::in_database_encoding(value);
        append_number(bytes_, static_cast<std::int32_t>(converted.size()));
        bytes_.append(converted);
        return;
    }
    append_number(bytes_, static_cast<std::int32_t>(value.size()));
    bytes_.append(value);
}

void CopyRows::add_null() {
    append_number(bytes_, std::int32_t{-1});
}

void CopyRows::append(const CopyRows& other, std::size_t begin, std::size_t end) {
    bytes_.append(other.bytes_, begin, end - begin);
}

void CopyRows::copy_into(const char* table) {
    source = {{copy_header, bytes_, copy_trailer}, 0};
    pg::guard([&] { crmsync::copy_into(table); });
}

DirectoryMembers::DirectoryMembers(const DirectoryLink& link)
    : link_(link), activity_("staging members for link " + link.name) {}

void DirectoryMembers::add(std::string_view crm_group, std::string_view form,
                           std::string_view member) {
    rows_.begin_row(3);
    rows_.add(crm_group);
    rows_.add(form);
    rows_.add(member);
    if (rows_.size() >= most_staged_bytes) {
        finish();
    }
}

void DirectoryMembers::finish() {
    if (rows_.size() == 0) {
        return;
    }
    pg::Transaction transaction(activity_, pg::Transaction::read_committed);
    check_still_runs(link_);
    rows_.copy_into("crmsync_member");
    transaction.commit_lazily();
    rows_.clear();
}

std::string literal(std::string_view text) {
    return pg::query("SELECT pg_catalog.quote_literal($1)", text).string(0, 0);
}

void create_staging(const DirectoryLink& link) {
    std::string values;
    for (std::size_t i = 0; i < link.mappings.size(); ++i) {
        values += ", v" + std::to_string(i) + " text COLLATE \"C\"";
    }
    const std::string tables[] = {
        R"(CREATE TEMPORARY TABLE crmsync_entry (
               key text COLLATE "C" NOT NULL, name text COLLATE "C", login text COLLATE "C",
               change_key text COLLATE "C", problem text, dn text COLLATE "C")" +
            values + ")",
        R"(CREATE TEMPORARY TABLE crmsync_change (
               entry tid, key text COLLATE "C", record text COLLATE "C", old_key text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_created (entry tid, record text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_match (entry tid, record text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_met (record text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_sought (entry tid, key text COLLATE "C"))",
        R"(CREATE TEMPORARY TABLE crmsync_member (
               crm_group text COLLATE "C", form text COLLATE "C", member text COLLATE "C"))",
    };
    for (const std::string& statement : tables) {
        pg::query(statement, {}, {.once = true});
    }
    // No two keys are the same, which a small sample shows as well.
    pg::query("ALTER TABLE pg_temp.crmsync_entry ALTER key SET STATISTICS 10", {}, {.once = true});
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

}  // namespace crmsync
