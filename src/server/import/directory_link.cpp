#include "server/import/directory_link.h"

#include <algorithm>

#include "directory/attribute.h"
#include "server/configuration/secret.h"
#include "server/configuration/url_rules.h"
#include "server/postgres/query.h"

namespace crmsync {

namespace {

pg::UserError broken(const std::string& message, std::string hint = {}) {
    return {ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message, {}, std::move(hint)};
}

directory::Auth bind_from_name(std::string_view name) {
    if (name == "none") {
        return directory::Auth::none;
    }
    if (name == "external") {
        return directory::Auth::external;
    }
    return directory::Auth::simple;
}

directory::Scope scope_from_name(std::string_view name) {
    if (name == "base") {
        return directory::Scope::base;
    }
    return name == "one" ? directory::Scope::one : directory::Scope::sub;
}

void read_link_row(DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "SELECT l.name, l.target, l.enabled AND NOT t.paused AND NOT EXISTS (SELECT FROM "
        "crmsync.target_state ts WHERE ts.target = l.target AND ts.code IS NOT NULL "
        "AND ts.next_attempt IS NULL), pg_catalog.to_regrole(l.owner)::oid, "
        "l.options->>'base', coalesce(l.options->>'scope', 'sub'), "
        "coalesce(l.options->>'filter', ''), t.options->>'page_size', "
        "coalesce((l.options->>'nested')::boolean, false), "
        "coalesce((l.options->>'exclusive')::boolean, false), "
        "extract(epoch FROM coalesce((l.options->>'grace')::interval, '0'))::bigint, "
        "l.options->>'max_deletes', l.options->>'max_delete_percent', l.options->>'min_deletes', "
        "l.source, pg_catalog.quote_ident(l.key), l.on_target_delete, "
        "coalesce(s.comparison = 'everything', false), "
        "pg_catalog.to_regclass(l.source)::oid, l.xmin::text || ' ' || t.xmin::text, "
        "coalesce(s.comparison_asked, 0) "
        "FROM crmsync.link l JOIN crmsync.target t ON t.name = l.target "
        "LEFT JOIN crmsync.link_state s ON s.link = l.id WHERE l.id = $1",
        link.id);
    if (rows.empty()) {
        throw broken("the link was dropped");
    }
    link.name = rows.string(0, 0);
    link.target = rows.string(0, 1);
    link.runs = rows.boolean(0, 2);
    link.owner = static_cast<Oid>(rows.integer(0, 3));
    link.base = rows.string(0, 4);
    link.scope = scope_from_name(rows.text(0, 5));
    link.filter = rows.string(0, 6);
    link.page_size = static_cast<int>(rows.number_or(0, 7, 0));
    link.nested = rows.boolean(0, 8);
    link.exclusive = rows.boolean(0, 9);
    link.grace_seconds = rows.integer(0, 10);
    link.guard.max_deletes = rows.number_or(0, 11, link.guard.max_deletes);
    link.guard.max_delete_percent = rows.number_or(0, 12, link.guard.max_delete_percent);
    link.guard.min_deletes = rows.number_or(0, 13, link.guard.min_deletes);
    link.source = rows.string(0, 14);
    link.key_column = rows.string(0, 15);
    link.disables_vanished = rows.text(0, 16) == "disable";
    link.compares_everything = rows.boolean(0, 17);
    link.version = rows.string(0, 19);
    link.comparison_asked = rows.integer(0, 20);
    if (!OidIsValid(link.owner)) {
        throw broken("the owner of link \"" + link.name + "\" does not exist",
                     "Give the link another owner with crmsync.alter_link.");
    }
    if (rows.integer(0, 18) == 0) {
        throw broken("relation " + link.source + " does not exist",
                     "Create it again, or alter the link's source.");
    }
}

void read_key(DirectoryLink& link) {
    // The default is evaluated by us, so that the new row's key is known without asking for it.
    const pg::Rows rows = pg::query(
        "SELECT pg_catalog.format_type(a.atttypid, -1), "
        "CASE WHEN a.attidentity <> '' THEN 'pg_catalog.nextval(' || pg_catalog.quote_literal("
        "pg_catalog.pg_get_serial_sequence(l.source, l.key)) || '::pg_catalog.regclass)' "
        "ELSE pg_catalog.pg_get_expr(d.adbin, d.adrelid) END, a.attidentity = 'a', "
        "EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = a.attrelid "
        "AND t.tgtype & 66 <> 0 AND t.tgtype & 4 <> 0) "
        "FROM crmsync.link l JOIN pg_catalog.pg_attribute a "
        "ON a.attrelid = l.source::pg_catalog.regclass AND a.attname = l.key AND a.attnum > 0 "
        "AND NOT a.attisdropped LEFT JOIN pg_catalog.pg_attrdef d "
        "ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE l.id = $1",
        link.id);
    if (rows.empty()) {
        throw broken("column " + link.key_column + " of relation " + link.source +
                     " does not exist");
    }
    link.key_type = rows.string(0, 0);
    link.key_default = rows.string(0, 1);
    link.key_is_always_generated = rows.boolean(0, 2);
    link.triggers_may_interfere = rows.boolean(0, 3);
}

void read_mappings(DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "SELECT m.property, pg_catalog.quote_ident(m.crm), "
        "pg_catalog.format_type(a.atttypid, -1), m.crm = l.key, m.inbound, "
        "coalesce(crmsync.fallback_property(m.fallback), ''), "
        "crmsync.fallback_constant(m.fallback), m.value_map IS NOT NULL, v.crm_value, v.value, "
        "pg_catalog.lower(m.property) = ANY (ARRAY(SELECT pg_catalog.lower(p) "
        "FROM pg_catalog.unnest(l.match_on) p)), "
        "a.attnum FROM crmsync.link l CROSS JOIN crmsync.mapping_in_force(l.id) m "
        "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = l.source::pg_catalog.regclass "
        "AND a.attname = m.crm AND a.attnum > 0 AND NOT a.attisdropped "
        "LEFT JOIN LATERAL (SELECT e.key AS crm_value, x.value FROM "
        "pg_catalog.jsonb_each(m.value_map) e, LATERAL pg_catalog.jsonb_array_elements_text("
        "CASE jsonb_typeof(e.value) WHEN 'array' THEN e.value "
        "ELSE pg_catalog.jsonb_build_array(e.value) END) x) v ON true "
        "WHERE l.id = $1 AND coalesce(m.direction, l.direction) IN ('inbound', 'both') "
        "AND m.crm NOT LIKE '(%' ORDER BY m.property COLLATE \"C\", m.crm COLLATE \"C\"",
        link.id);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const std::string property = rows.string(row, 0);
        const std::string column = rows.string(row, 1);
        if (rows.is_null(row, 2)) {
            throw broken("column " + column + " of relation " + link.source + " does not exist",
                         "Create it again, or remove its mapping with crmsync.unmap.");
        }
        if (property == "@none") {
            link.constants.push_back({column, rows.string(row, 2), rows.string(row, 4)});
            continue;
        }
        if (link.mappings.empty() || link.mappings.back().property != property ||
            link.mappings.back().column != column) {
            DirectoryMapping mapping;
            mapping.property = property;
            mapping.column = column;
            mapping.type = rows.string(row, 2);
            mapping.column_number = static_cast<int>(rows.integer(row, 11));
            mapping.column_is_key = rows.boolean(row, 3);
            mapping.inbound = rows.string(row, 4);
            mapping.fallback_property = rows.string(row, 5);
            mapping.fallback_constant = rows.optional_text(row, 6);
            if (rows.boolean(row, 7)) {
                mapping.value_map.emplace();
            }
            if (rows.boolean(row, 10)) {
                link.match_on.push_back(static_cast<int>(link.mappings.size()));
            }
            link.mappings.push_back(std::move(mapping));
        }
        if (!rows.is_null(row, 8)) {
            link.mappings.back().value_map->emplace(rows.string(row, 9), rows.string(row, 8));
        }
    }
    if (link.mappings.empty()) {
        throw broken("link \"" + link.name + "\" maps no property to a column of the CRM",
                     "Map some with crmsync.map.");
    }
}

// Fewer properties than match_on names would match more than was meant.
void check_match_on(const DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "SELECT pg_catalog.min(p) FROM crmsync.link l, pg_catalog.unnest(l.match_on) p "
        "WHERE l.id = $1 AND pg_catalog.lower(p) NOT IN (SELECT pg_catalog.lower(m.property) "
        "FROM crmsync.mapping_in_force(l.id) m WHERE m.property <> '@none')",
        link.id);
    if (!rows.is_null(0, 0)) {
        throw broken("match_on names " + rows.string(0, 0) + ", which is not mapped",
                     "Map it with crmsync.map, then call crmsync.enable_link.");
    }
}

void read_memberships(DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "WITH m AS (SELECT l.options->'memberships' AS o FROM crmsync.link l WHERE l.id = $1), "
        "n AS (SELECT 'user' AS role, o->>'user' AS name, NULL AS value FROM m UNION ALL "
        "SELECT 'group', o->>'group', NULL FROM m UNION ALL "
        "SELECT 'fixed', f.key, f.value #>> '{}' FROM m, "
        "pg_catalog.jsonb_each(coalesce(m.o->'fixed', '{}')) f) "
        "SELECT m.o->>'table', n.role, pg_catalog.quote_ident(n.name), "
        "pg_catalog.format_type(a.atttypid, -1), n.value, EXISTS (SELECT FROM "
        "pg_catalog.pg_rewrite r WHERE r.ev_class = pg_catalog.to_regclass(m.o->>'table') "
        "AND r.ev_type IN ('2', '3')) FROM m CROSS JOIN n "
        "LEFT JOIN pg_catalog.pg_attribute a ON "
        "a.attrelid = pg_catalog.to_regclass(m.o->>'table') AND a.attname = n.name "
        "AND a.attnum > 0 AND NOT a.attisdropped WHERE m.o IS NOT NULL",
        link.id);
    if (rows.empty()) {
        return;
    }
    DirectoryMemberships memberships;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        memberships.table = rows.string(row, 0);
        memberships.has_rules = rows.boolean(row, 5);
        if (rows.is_null(row, 3)) {
            throw broken("the option memberships names a relation or column that does not exist: " +
                         memberships.table + ", " + rows.string(row, 2));
        }
        if (rows.text(row, 1) == "user") {
            memberships.user_column = rows.string(row, 2);
            memberships.user_type = rows.string(row, 3);
        } else if (rows.text(row, 1) == "group") {
            memberships.group_column = rows.string(row, 2);
            memberships.group_type = rows.string(row, 3);
        } else {
            memberships.fixed.push_back(
                {rows.string(row, 2), rows.string(row, 3), rows.optional_text(row, 4)});
        }
    }
    link.memberships = std::move(memberships);
}

void read_groups(DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "SELECT g.ldap_group, g.crm_group, crmsync.group_value(l, g.crm_group) "
        "FROM crmsync.link l, crmsync.group_mapping_in_force(l.id) g "
        "WHERE l.id = $1 AND l.options ? 'memberships' ORDER BY g.ldap_group, g.crm_group",
        link.id);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        link.groups.push_back({rows.string(row, 0), rows.string(row, 1), rows.string(row, 2)});
    }
}

void read_mailbox(DirectoryLink& link) {
    pg::query("INSERT INTO crmsync.mailbox (link, address) VALUES ($1, '') ON CONFLICT DO NOTHING",
              link.id);
    const pg::Rows rows =
        pg::query("SELECT id FROM crmsync.mailbox WHERE link = $1 AND address = ''", link.id);
    link.mailbox = static_cast<int>(rows.integer(0, 0));
    link.had_items =
        !pg::query("SELECT FROM crmsync.item WHERE mailbox = $1 LIMIT 1", link.mailbox).empty();
}

}  // namespace

const DirectoryMapping* DirectoryLink::find(std::string_view property) const {
    const auto found =
        std::find_if(mappings.begin(), mappings.end(), [property](const DirectoryMapping& mapping) {
            return directory::same_name(mapping.property, property);
        });
    return found == mappings.end() ? nullptr : &*found;
}

void check_still_runs(const DirectoryLink& link) {
    const pg::Rows rows = pg::query(
        "SELECT l.xmin::text || ' ' || t.xmin::text FROM crmsync.link l "
        "JOIN crmsync.target t ON t.name = l.target "
        "WHERE l.id = $1 AND l.enabled AND NOT t.paused",
        link.id);
    if (rows.empty() || rows.text(0, 0) != link.version) {
        throw RunStopped{};
    }
}

directory::Server read_directory_server(const std::string& target) {
    const pg::Rows rows = pg::query(
        "SELECT t.url, t.auth, coalesce(t.username, ''), coalesce(s.secret, ''), "
        "coalesce((t.options->>'start_tls')::boolean, false), "
        "coalesce((t.options->>'tls_verify')::boolean, true), "
        "coalesce(t.options->>'ca_file', ''), coalesce(t.options->>'cert_file', ''), "
        "coalesce(t.options->>'key_file', ''), "
        "(coalesce(t.options->>'timeout', '30')::numeric * 1000)::bigint "
        "FROM crmsync.target t LEFT JOIN crmsync.target_secret s ON s.target = t.name "
        "WHERE t.name = $1 AND t.kind = 'ldap'",
        std::string_view(target));
    if (rows.empty()) {
        throw pg::UserError(ERRCODE_UNDEFINED_OBJECT,
                            "target \"" + target + "\" of kind ldap does not exist");
    }
    directory::Server server;
    server.url = rows.string(0, 0);
    server.auth = bind_from_name(rows.text(0, 1));
    server.username = rows.string(0, 2);
    server.secret = resolve_secret(rows.text(0, 3));
    server.start_tls = rows.boolean(0, 4);
    server.tls_verify = rows.boolean(0, 5);
    server.ca_file = resolve_file(rows.text(0, 6));
    server.cert_file = resolve_file(rows.text(0, 7));
    server.key_file = resolve_file(rows.text(0, 8));
    server.timeout = std::chrono::milliseconds(rows.integer(0, 9));
    for (const directory::Endpoint& endpoint : directory::parse_urls(server.url)) {
        check_allowed_host(endpoint.url());
    }
    return server;
}

DirectoryLink read_directory_link(int id) {
    DirectoryLink link;
    link.id = id;
    read_link_row(link);
    link.server = read_directory_server(link.target);
    read_key(link);
    read_mappings(link);
    check_match_on(link);
    read_memberships(link);
    read_groups(link);
    read_mailbox(link);
    return link;
}

}  // namespace crmsync
