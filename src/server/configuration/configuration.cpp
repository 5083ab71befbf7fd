#include "server/configuration/configuration.h"

#include "server/configuration/desired_record.h"

namespace crmsync {

namespace {

sync::Policy policy_of(const pg::Rows& rows, std::uint64_t row, int column) {
    sync::Policy policy;
    if (rows.text(row, column) == "keep") {
        policy.on_crm_delete = sync::OnCrmDelete::keep;
    }
    if (rows.text(row, column + 1) == "recreate") {
        policy.on_target_delete = sync::OnTargetDelete::recreate;
    } else if (rows.text(row, column + 1) == "unlink") {
        policy.on_target_delete = sync::OnTargetDelete::unlink;
    } else if (rows.text(row, column + 1) == "delete") {
        policy.on_target_delete = sync::OnTargetDelete::remove;
    }
    if (rows.text(row, column + 2) == "unlink") {
        policy.on_audience_loss = sync::OnAudienceLoss::unlink;
    }
    return policy;
}

record::Write write_from_name(std::string_view name) {
    return name == "all"        ? record::Write::all
           : name == "if_empty" ? record::Write::if_empty
                                : record::Write::changed;
}

record::Conflict conflict_from_name(std::string_view name) {
    return name == "target_wins"   ? record::Conflict::target_wins
           : name == "newest_wins" ? record::Conflict::newest_wins
                                   : record::Conflict::crm_wins;
}

record::Access access_from_name(std::string_view name) {
    return name == "outbound"  ? record::Access::outbound
           : name == "inbound" ? record::Access::inbound
                               : record::Access::both;
}

void read_layout(LinkConfiguration& link) {
    const pg::Rows rows = pg::query(
        "SELECT p.property, m.value_map IS NOT NULL, v.crm_value, "
        "CASE jsonb_typeof(v.value) WHEN 'array' THEN v.value->>0 ELSE v.value #>> '{}' END, "
        // What stands in for an absent value is not written back.
        "coalesce(m.options->>'write', CASE WHEN l.write_fields = 'all' "
        "AND m.fallback IS NOT NULL THEN 'changed' ELSE l.write_fields END), "
        "coalesce(m.options->>'conflict', l.conflict), "
        // Most links only write: these need not ask.
        "CASE WHEN coalesce(m.direction, l.direction) = 'outbound' THEN 'outbound' "
        "ELSE crmsync.mapping_direction(l, m) END, m.inbound IS NULL AND l.apply IS NULL, "
        "count(*) OVER (PARTITION BY p.property, v.crm_value) > 1 "
        "FROM crmsync.layout($1) WITH ORDINALITY AS p(property, position) "
        "JOIN crmsync.link l ON l.id = $1 "
        "JOIN crmsync.mapping_in_force($1) m ON m.property = p.property "
        "LEFT JOIN LATERAL pg_catalog.jsonb_each(m.value_map) AS v(crm_value, value) ON true "
        "ORDER BY p.position",
        link.id);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        const record::Property* property =
            record::find_property(rows.text(row, 0), link.rules.object);
        if (property == nullptr) {
            link.problem = "unknown property " + rows.string(row, 0);
            return;
        }
        // The values have their places by the order of the properties.
        if (rows.boolean(row, 8)) {
            link.problem = "property " + rows.string(row, 0) + " is mapped twice";
            return;
        }
        if (link.rules.layout.empty() || link.rules.layout.back() != property) {
            link.rules.layout.push_back(property);
            link.rules.fields.push_back({.write = write_from_name(rows.text(row, 4)),
                                         .conflict = conflict_from_name(rows.text(row, 5)),
                                         .access = access_from_name(rows.text(row, 6)),
                                         .exact = rows.boolean(row, 7)});
            link.value_maps.emplace_back();
        }
        if (rows.boolean(row, 1)) {
            auto& map = link.value_maps.back();
            if (!map) {
                map.emplace();
            }
            if (!rows.is_null(row, 2)) {
                map->emplace(rows.string(row, 2), rows.string(row, 3));
            }
        }
    }
    link.kept_rules = std::make_shared<const sync::Rules>(link.rules);
}

std::vector<std::string> targets_of(const LinkConfiguration& link) {
    const pg::Rows rows = pg::query(
        "SELECT target FROM crmsync.link_target WHERE link = $1 ORDER BY target", link.id);
    std::vector<std::string> targets;
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        targets.push_back(rows.string(row, 0));
    }
    return targets.empty() ? std::vector<std::string>{link.target} : targets;
}

// An unknown role breaks this link only.
Oid role_oid(const std::string& quoted_name) {
    const pg::Rows rows =
        pg::query("SELECT pg_catalog.to_regrole($1)::oid", std::string_view(quoted_name));
    return static_cast<Oid>(rows.integer(0, 0));
}

void read_queries(LinkConfiguration& link) {
    const pg::Rows rows = pg::query(
        "SELECT crmsync.source_query($1), crmsync.audience_query($1), "
        "crmsync.audience_all_query($1), coalesce(crmsync.mailboxes_query($1), ''), "
        "l.mailboxes IS NOT NULL, l.audience IS NOT NULL, coalesce(crmsync.content_query($1), ''), "
        "coalesce(crmsync.capture_problem($1), 'the source, its key, a child table or the "
        "audience does not exist any more'), crmsync.column_problem($1) "
        "FROM crmsync.link l WHERE l.id = $1",
        link.id);
    link.source_query = rows.string(0, 0);
    link.audience_query = rows.string(0, 1);
    link.audience_all_query = rows.string(0, 2);
    link.mailboxes_query = rows.string(0, 3);
    link.content_query = rows.string(0, 6);
    for (int query = 0; query < 3; ++query) {
        if (rows.is_null(0, query) && (query == 0 || rows.boolean(0, 5))) {
            link.problem = rows.string(0, 7);
        }
    }
    if (rows.boolean(0, 4) && link.mailboxes_query.empty()) {
        link.problem = "the relation of mailboxes does not exist any more";
    }
    if (link.problem.empty() && !rows.is_null(0, 8)) {
        link.problem = rows.string(0, 8);
        link.problem_code = ERRCODE_UNDEFINED_COLUMN;
    }
}

std::optional<std::size_t> place_of(const LinkConfiguration& link, std::string_view property) {
    return record::place_of(link.rules.layout, record::find_property(property, link.rules.object));
}

void read_children(LinkConfiguration& link) {
    std::map<std::int64_t, std::vector<std::size_t>> alike;
    const pg::Rows rows = pg::query(
        "SELECT relation, column_name, column_type, rows_query, fixed_columns, fixed_values, "
        "alike FROM crmsync.child_rows($1)",
        link.id);
    for (std::uint64_t row = 0; row < rows.size(); ++row) {
        link.children.push_back({.relation = rows.string(row, 0),
                                 .column = rows.string(row, 1),
                                 .column_type = rows.string(row, 2),
                                 .query = rows.string(row, 3),
                                 .fixed_columns = rows.string(row, 4),
                                 .fixed_values = rows.string(row, 5),
                                 .places = {},
                                 .primary_key = {}});
        alike[rows.integer(row, 6)].push_back(row);
    }
    for (auto& [first, children] : alike) {
        link.alike.push_back(std::move(children));
    }
    if (link.children.empty()) {
        return;
    }
    // In the order of rows_query.
    const pg::Rows mapped = pg::query(
        "SELECT c.number, m.property FROM crmsync.children($1) c "
        "JOIN crmsync.mapping_in_force($1) m ON m.child = c.child ORDER BY c.number, m.crm",
        link.id);
    for (std::uint64_t row = 0; row < mapped.size(); ++row) {
        link.children[static_cast<std::size_t>(mapped.integer(row, 0)) - 1].places.push_back(
            place_of(link, mapped.text(row, 1)).value());
    }
    const pg::Rows keys =
        pg::query("SELECT number, column_name, column_type FROM crmsync.child_keys($1)", link.id);
    for (std::uint64_t row = 0; row < keys.size(); ++row) {
        link.children[static_cast<std::size_t>(keys.integer(row, 0)) - 1].primary_key.emplace_back(
            keys.string(row, 1), keys.string(row, 2));
    }
}

void read_source(LinkConfiguration& link) {
    link.fields_in.resize(link.rules.layout.size());
    const pg::Rows names = pg::query(
        "SELECT l.source, pg_catalog.quote_ident(l.key), coalesce(crmsync.key_type(l.id), ''), "
        "coalesce(c.relkind IN ('r', 'p', 'v') AND (l.apply IS NULL OR "
        "pg_catalog.has_any_column_privilege(pg_catalog.to_regrole(l.owner), c.oid, 'UPDATE')), "
        "false), coalesce(l.apply, ''), coalesce(c.relkind = 'v', false) FROM crmsync.link l "
        "LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(l.source) "
        "WHERE l.id = $1",
        link.id);
    link.source = names.string(0, 0);
    link.key = names.string(0, 1);
    link.key_type = names.string(0, 2);
    link.rows_can_be_locked = names.boolean(0, 3);
    link.apply = names.string(0, 4);
    link.is_view = names.boolean(0, 5);
}

// How a link that reads mailboxes recognises what their users have already.
void read_matching(LinkConfiguration& link) {
    const pg::Rows known = pg::query(
        "SELECT coalesce(crmsync.audience_in_query($1), ''), coalesce(crmsync.key_query($1), ''), "
        "coalesce(l.options->>'key_property', ''), coalesce(crmsync.match_query($1), '') "
        "FROM crmsync.link l WHERE l.id = $1",
        link.id);
    link.audience_in_query = known.string(0, 0);
    link.key_query = known.string(0, 1);
    link.key_property = known.string(0, 2);
    link.match_query = known.string(0, 3);
    const pg::Rows match_on =
        pg::query("SELECT p FROM crmsync.link l, unnest(l.match_on) p WHERE l.id = $1", link.id);
    for (std::uint64_t row = 0; row < match_on.size(); ++row) {
        const auto place = place_of(link, match_on.text(row, 0));
        if (!place) {
            link.problem = "match_on names " + match_on.string(row, 0) + ", which is not mapped";
            return;
        }
        link.match_on.push_back(*place);
    }
}

// As an item would hold it.
std::string held_form(const record::Property& property, std::string_view text) {
    record::Canonical canonical = record::canonical(property, text);
    return canonical.ok() && canonical.value ? std::move(*canonical.value) : std::string(text);
}

// A constant of the CRM, as an item would hold it; unless that is read as another value of the CRM.
void take_constant(LinkConfiguration& link, std::size_t place) {
    InboundField& field = link.fields_in[place];
    const auto& map = link.value_maps[place];
    if (!field.constant || !field.crm_values || !map || !map->contains(*field.constant)) {
        return;
    }
    const record::Value held = property_value(link, place, *field.constant).value;
    const auto back = held ? field.crm_values->find(*held) : field.crm_values->end();
    if (back != field.crm_values->end() && back->second == *field.constant) {
        field.constant = held;
    }
}

// The columns that an inbound link writes, and what they get.
void read_inbound(LinkConfiguration& link) {
    read_children(link);
    const pg::Rows columns = pg::query(
        "SELECT c.property, c.column_name, c.expression, c.child_number, "
        "coalesce(crmsync.fallback_property(m.fallback), ''), "
        "crmsync.fallback_constant(m.fallback), c.restoring "
        "FROM crmsync.inbound_columns($1) WITH ORDINALITY AS "
        "c(property, child_number, column_name, expression, restoring, place) "
        "JOIN crmsync.mapping_in_force($1) m ON m.property = c.property ORDER BY c.place",
        link.id);
    for (std::uint64_t row = 0; row < columns.size(); ++row) {
        const std::size_t place = place_of(link, columns.text(row, 0)).value();
        const record::Property& property = *link.rules.layout[place];
        std::optional<std::size_t> child;
        if (!columns.is_null(row, 3)) {
            child = static_cast<std::size_t>(columns.integer(row, 3)) - 1;
        }
        if (property.access == record::Access::outbound) {
            continue;  // what the server makes of other properties says nothing about the CRM
        }
        InboundField& field = link.fields_in[place];
        field.column = columns.string(row, 1);
        field.expression = columns.string(row, 2);
        field.restoring = columns.string(row, 6);
        field.child = child;
        field.fallback = place_of(link, columns.text(row, 4));
        field.constant = columns.optional_text(row, 5);
    }
    const pg::Rows queries = pg::query(
        "SELECT coalesce(crmsync.modified_query($1), ''), "
        "l.options ->> 'modified_column' "
        "FROM crmsync.link l WHERE l.id = $1",
        link.id);
    link.modified_query = queries.string(0, 0);
    if (!queries.is_null(0, 1) && link.modified_query.empty()) {
        link.problem = "the column \"" + queries.string(0, 1) +
                       "\", which the option modified_column names, does not exist any more";
        return;
    }
    const pg::Rows categories = pg::query(
        "SELECT k.key = 'only', c FROM crmsync.link l, "
        "pg_catalog.jsonb_each(l.options->'inbound_categories') AS k, "
        "pg_catalog.jsonb_array_elements_text(k.value) AS c WHERE l.id = $1",
        link.id);
    for (std::uint64_t row = 0; row < categories.size(); ++row) {
        (categories.boolean(row, 0) ? link.categories.only : link.categories.none)
            .insert(sync::category_name(categories.string(row, 1)));
    }
    const pg::Rows more =
        pg::query("SELECT c.column_name, c.expression FROM crmsync.new_row_columns($1) c", link.id);
    for (std::uint64_t row = 0; row < more.size(); ++row) {
        link.new_row_columns.push_back({more.string(row, 0), more.string(row, 1)});
    }
    const pg::Rows values = pg::query(
        "SELECT m.property, v.crm_value, p.value #>> '{}' FROM crmsync.mapping_in_force($1) m, "
        "pg_catalog.jsonb_each(m.value_map) AS v(crm_value, value), "
        "pg_catalog.jsonb_path_query(v.value, 'lax $[*]') AS p(value)",
        link.id);
    for (std::uint64_t row = 0; row < values.size(); ++row) {
        if (const auto place = place_of(link, values.text(row, 0))) {
            auto& map = link.fields_in[*place].crm_values;
            if (!map) {
                map.emplace();
            }
            map->emplace(held_form(*link.rules.layout[*place], values.text(row, 2)),
                         values.string(row, 1));
        }
    }
    for (std::size_t place = 0; place < link.fields_in.size(); ++place) {
        take_constant(link, place);
    }
}

}  // namespace

std::string configuration_fingerprint() {
    const pg::Rows rows = pg::query(
        "SELECT pg_catalog.md5(pg_catalog.string_agg(version, ',')) FROM ("
        "SELECT 't' || ctid || xmin AS version FROM crmsync.target "
        "UNION ALL SELECT 's' || ctid || xmin FROM crmsync.target_secret "
        "UNION ALL SELECT 'l' || ctid || xmin FROM crmsync.link "
        "UNION ALL SELECT 'm' || ctid || xmin FROM crmsync.mapping "
        "UNION ALL SELECT 'i' || ctid || xmin FROM crmsync.identity "
        "UNION ALL SELECT 'o' || ctid || xmin FROM crmsync.link_target "
        "UNION ALL SELECT 'w' || l.id FROM crmsync.link l WHERE NOT l.enabled "
        "AND EXISTS (SELECT FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox "
        "WHERE m.link = l.id)) AS versions");
    return rows.string(0, 0);
}

std::string role_name(Oid role) {
    return pg::query("SELECT $1::bigint::oid::regrole::text", static_cast<std::int64_t>(role))
        .string(0, 0);
}

Configuration read_configuration(const std::string& link_name) {
    Configuration configuration;
    const pg::Rows identity = pg::query(
        "SELECT pg_catalog.replace(i.instance::text, '-', ''), c.system_identifier IS NOT NULL "
        "FROM crmsync.identity i LEFT JOIN crmsync.current_identity() c "
        "ON (c.system_identifier, c.database, c.environment) = "
        "(i.system_identifier, i.database, i.environment) ORDER BY 2 DESC LIMIT 1");
    if (!identity.empty()) {
        configuration.instance = identity.string(0, 0);
        configuration.identity_confirmed = identity.boolean(0, 1);
    }
    configuration.targets = read_targets();
    const pg::Rows links = pg::query(
        "SELECT l.id, l.name, l.target, l.object, l.owner, coalesce(l.folder, ''), "
        "l.on_crm_delete, l.on_target_delete, l.on_audience_loss, "
        "l.options->>'max_deletes', l.options->>'max_delete_percent', l.options->>'min_deletes', "
        "extract(epoch FROM l.inbound_interval)::bigint, "
        "coalesce((l.options->>'hard_delete')::boolean, false), l.direction <> 'outbound', "
        "coalesce(l.options->>'inbound_private', 'skip') <> 'skip', "
        "l.enabled, l.retired, l.enabled OR l.name = $1, crmsync.reads_mailboxes(l), "
        "l.on_ambiguous = 'oldest', extract(epoch FROM l.outbound_interval)::bigint, "
        "l.direction <> 'inbound' "
        "FROM crmsync.link l WHERE l.name = $1 OR l.id IN (SELECT s.link FROM crmsync.served s) "
        "ORDER BY l.id",
        std::string_view(link_name));
    for (std::uint64_t row = 0; row < links.size(); ++row) {
        LinkConfiguration link;
        link.id = static_cast<int>(links.integer(row, 0));
        link.name = links.string(row, 1);
        link.target = links.string(row, 2);
        link.targets = targets_of(link);
        link.object_name = links.string(row, 3);
        link.owner = role_oid(links.string(row, 4));
        link.folder = links.string(row, 5);
        link.rules.policy = policy_of(links, row, 6);
        link.rules.outbound = links.boolean(row, 22);
        link.guard.max_deletes = links.number_or(row, 9, 500);
        link.guard.max_delete_percent = links.number_or(row, 10, 25);
        link.guard.min_deletes = links.number_or(row, 11, 20);
        link.hard_delete = links.boolean(row, 13);
        link.enabled = links.boolean(row, 16);
        link.retired = links.boolean(row, 17);
        const bool ldap = configuration.targets.at(link.target).kind == "ldap";
        if (!ldap) {
            link.rules.object =
                record::object_from_name(link.object_name).value_or(link.rules.object);
        }
        if (!links.is_null(row, 12)) {
            link.interval = std::chrono::seconds(links.integer(row, 12));
        }
        if (!links.boolean(row, 18)) {
            read_layout(link);  // all that is needed to take items back
        } else if (!OidIsValid(link.owner)) {
            link.problem = "role " + links.string(row, 4) + " does not exist";
        } else if (!ldap) {
            read_layout(link);
            read_queries(link);
            link.inbound = links.boolean(row, 14);
            link.reads = links.boolean(row, 19);
            link.takes_oldest = links.boolean(row, 20);
            if (!links.is_null(row, 21)) {
                link.outbound_interval = std::chrono::seconds(links.integer(row, 21));
            }
            link.brings_private = links.boolean(row, 15);
            if (link.reads) {
                read_source(link);
                read_matching(link);
            }
            if (link.inbound) {
                read_inbound(link);
            }
        }
        configuration.links.emplace(link.id, std::move(link));
    }
    return configuration;
}

}  // namespace crmsync
