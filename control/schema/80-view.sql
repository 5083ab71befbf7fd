-- What administrators look at. No view has a secret. A view shows a role the links that it has been
-- granted: counts, states, codes and names to a reader. Values need the level operator, and so do
-- messages in the words of whoever has seen values: PostgreSQL, which runs a link's queries, and
-- Exchange. Targets' messages are of networks and servers, and everybody sees them.

CREATE VIEW crmsync.visible_link AS
SELECT a.link, a.link IN (SELECT crmsync.allowed_links('operator')) AS shows_values
FROM crmsync.allowed_links('reader') AS a (link);
COMMENT ON VIEW crmsync.visible_link IS 'what the views show to whom';
COMMENT ON COLUMN crmsync.visible_link.link IS 'a link that the caller may read; 0: those that were dropped, and the targets';
COMMENT ON COLUMN crmsync.visible_link.shows_values IS 'whether the caller may also see values, and messages that may quote them';

CREATE VIEW crmsync.targets WITH (security_barrier) AS
SELECT t.name, t.kind, t.url, t.auth, t.username, t.options, t.paused, s.code, s.message, s.since,
       s.next_attempt, s.last_success
FROM crmsync.target t
LEFT JOIN crmsync.target_state s ON s.target = t.name
WHERE EXISTS (SELECT FROM crmsync.visible_link v LEFT JOIN crmsync.link l ON l.id = v.link
              WHERE v.link = 0 OR l.target = t.name);
COMMENT ON VIEW crmsync.targets IS 'targets and how they are doing';
COMMENT ON COLUMN crmsync.targets.name IS 'name of the target';
COMMENT ON COLUMN crmsync.targets.kind IS 'ews or ldap';
COMMENT ON COLUMN crmsync.targets.url IS 'where the server is';
COMMENT ON COLUMN crmsync.targets.auth IS 'how crmsync logs on';
COMMENT ON COLUMN crmsync.targets.username IS 'who crmsync logs on as';
COMMENT ON COLUMN crmsync.targets.options IS 'options that differ from their defaults';
COMMENT ON COLUMN crmsync.targets.paused IS 'by pause_target';
COMMENT ON COLUMN crmsync.targets.code IS 'what kind of failure; NULL: it works, or was never needed';
COMMENT ON COLUMN crmsync.targets.message IS 'what the server or the network said of the connection';
COMMENT ON COLUMN crmsync.targets.since IS 'when the failures began';
COMMENT ON COLUMN crmsync.targets.next_attempt IS 'when it is tried again; NULL with a code: stopped until resume_target';
COMMENT ON COLUMN crmsync.targets.last_success IS 'when it last answered well, or up to an hour before';

CREATE VIEW crmsync.links WITH (security_barrier) AS
SELECT l.name, l.target, l.object, l.source, l.key, l.audience, l.mailboxes, l.preset, l.direction,
       l.conflict, l.write_fields, l.on_crm_delete, l.on_target_delete, l.on_audience_loss,
       l.on_ambiguous, l.match_on, l.folder, l.outbound_interval, l.inbound_interval, l.daily_at,
       l.apply, l.owner, l.options, l.enabled, l.retired, l.id
FROM crmsync.link l
JOIN crmsync.visible_link v ON v.link = l.id;
COMMENT ON VIEW crmsync.links IS 'links as create_link and alter_link describe them, with defaults';
COMMENT ON COLUMN crmsync.links.name IS 'name of the link';
COMMENT ON COLUMN crmsync.links.target IS 'the target that the objects live on';
COMMENT ON COLUMN crmsync.links.object IS 'kind of object';
COMMENT ON COLUMN crmsync.links.source IS 'relation whose rows are the records';
COMMENT ON COLUMN crmsync.links.key IS 'column that names a record';
COMMENT ON COLUMN crmsync.links.audience IS 'relation (record, mailbox)';
COMMENT ON COLUMN crmsync.links.mailboxes IS 'relation that says which mailboxes take part';
COMMENT ON COLUMN crmsync.links.preset IS 'preset that the link keeps to';
COMMENT ON COLUMN crmsync.links.direction IS 'outbound, inbound or both';
COMMENT ON COLUMN crmsync.links.conflict IS 'who wins when both sides changed the same field';
COMMENT ON COLUMN crmsync.links.write_fields IS 'changed or all';
COMMENT ON COLUMN crmsync.links.on_crm_delete IS 'what follows a delete in the CRM';
COMMENT ON COLUMN crmsync.links.on_target_delete IS 'what follows a delete on the other side';
COMMENT ON COLUMN crmsync.links.on_audience_loss IS 'what happens to an item whose record leaves the audience';
COMMENT ON COLUMN crmsync.links.on_ambiguous IS 'what happens when several items match a key';
COMMENT ON COLUMN crmsync.links.match_on IS 'properties by which objects that are there already are recognised';
COMMENT ON COLUMN crmsync.links.folder IS 'folder below the default one; NULL: the default folder';
COMMENT ON COLUMN crmsync.links.outbound_interval IS 'how often changes go out; NULL: at once';
COMMENT ON COLUMN crmsync.links.inbound_interval IS 'how often the target is asked; NULL: ews: every 30 seconds, where mailboxes are read; ldap: daily_at holds';
COMMENT ON COLUMN crmsync.links.daily_at IS 'ldap: time of day of a daily run, instead of inbound_interval';
COMMENT ON COLUMN crmsync.links.apply IS 'function that writes inbound changes';
COMMENT ON COLUMN crmsync.links.owner IS 'role that the link reads and writes the CRM as';
COMMENT ON COLUMN crmsync.links.options IS 'options that differ from their defaults';
COMMENT ON COLUMN crmsync.links.enabled IS 'whether the link is served';
COMMENT ON COLUMN crmsync.links.retired IS 'whether it is being dropped with its items';
COMMENT ON COLUMN crmsync.links.id IS 'number of the link, in names of triggers and in log messages';

-- An enabled link works with the mapping that it was enabled with. What was unmapped, or mapped otherwise, since then
-- stays in sight.
CREATE VIEW crmsync.mapping_state AS
SELECT l.id AS link, m.mapping, pg_catalog.bool_or(m.mapped) AS mapped,
       l.enabled AND (l.armed_mapping IS NULL OR NOT pg_catalog.bool_and(m.mapped)) AS in_force
FROM crmsync.link l
CROSS JOIN LATERAL (
    SELECT m AS mapping, true AS mapped FROM crmsync.mapping m WHERE m.link = l.id
    UNION ALL
    SELECT a, false FROM pg_catalog.jsonb_populate_recordset(NULL::crmsync.mapping, l.armed_mapping) a) m
GROUP BY l.id, m.mapping;
COMMENT ON VIEW crmsync.mapping_state IS 'what is mapped, and what is in force';
COMMENT ON COLUMN crmsync.mapping_state.link IS 'the link';
COMMENT ON COLUMN crmsync.mapping_state.mapping IS 'a row of crmsync.mapping, or one that was there when the link was enabled';
COMMENT ON COLUMN crmsync.mapping_state.mapped IS 'whether it is there still';
COMMENT ON COLUMN crmsync.mapping_state.in_force IS 'whether the link works with it';

CREATE VIEW crmsync.mappings WITH (security_barrier) AS
SELECT l.name AS link, (s.mapping).property, (s.mapping).crm, (s.mapping).child ->> 'relation' AS child_table,
       crmsync.mapping_direction(l, s.mapping) AS direction, (s.mapping).value_map,
       (s.mapping).fallback, (s.mapping).inbound, (s.mapping).options, s.in_force, s.mapped
FROM crmsync.mapping_state s
JOIN crmsync.link l ON l.id = s.link
JOIN crmsync.visible_link v ON v.link = l.id;
COMMENT ON VIEW crmsync.mappings IS 'what map and map_child have mapped';
COMMENT ON COLUMN crmsync.mappings.link IS 'name of the link';
COMMENT ON COLUMN crmsync.mappings.property IS 'property or attribute of the target';
COMMENT ON COLUMN crmsync.mappings.crm IS 'column of the source or of a child table, or expression over the source''s row r';
COMMENT ON COLUMN crmsync.mappings.child_table IS 'the table that the column is of, see child_mappings; NULL: the source';
COMMENT ON COLUMN crmsync.mappings.direction IS 'direction in which it works';
COMMENT ON COLUMN crmsync.mappings.value_map IS '{CRM value: property value or array of them}';
COMMENT ON COLUMN crmsync.mappings.fallback IS 'used inbound when the property is absent';
COMMENT ON COLUMN crmsync.mappings.inbound IS 'expression over $1 whose value the CRM gets';
COMMENT ON COLUMN crmsync.mappings.options IS 'options of this field';
COMMENT ON COLUMN crmsync.mappings.in_force IS 'false: the link is disabled, or has not been enabled since the change';
COMMENT ON COLUMN crmsync.mappings.mapped IS 'false: unmapped or changed since the link was enabled, and in force until it is enabled again';

CREATE VIEW crmsync.child_mappings WITH (security_barrier) AS
SELECT l.name AS link, c.child ->> 'relation' AS relation, c.child ->> 'column' AS column_name,
       pg_catalog.jsonb_object_agg((s.mapping).crm, (s.mapping).property) AS columns, c.child -> 'fixed' AS fixed,
       (c.child ->> 'position')::integer AS "position", c.child ->> 'order_by' AS order_by, l.direction,
       pg_catalog.bool_and(s.in_force) AS in_force, s.mapped
FROM crmsync.mapping_state s
CROSS JOIN LATERAL (SELECT (s.mapping).child) c
JOIN crmsync.link l ON l.id = s.link
JOIN crmsync.visible_link v ON v.link = l.id
WHERE c.child IS NOT NULL
GROUP BY l.name, l.direction, c.child, s.mapped;
COMMENT ON VIEW crmsync.child_mappings IS 'what map_child has mapped';
COMMENT ON COLUMN crmsync.child_mappings.link IS 'name of the link';
COMMENT ON COLUMN crmsync.child_mappings.relation IS 'table of the child rows';
COMMENT ON COLUMN crmsync.child_mappings.column_name IS 'its column that holds the record''s key';
COMMENT ON COLUMN crmsync.child_mappings.columns IS '{column: property}; what is made of their values is in crmsync.mappings';
COMMENT ON COLUMN crmsync.child_mappings.fixed IS 'what the rows have in which columns';
COMMENT ON COLUMN crmsync.child_mappings."position" IS 'which of the rows, from 1';
COMMENT ON COLUMN crmsync.child_mappings.order_by IS 'in which order the positions count; what it leaves open, and NULL: by primary key';
COMMENT ON COLUMN crmsync.child_mappings.direction IS 'direction of the link';
COMMENT ON COLUMN crmsync.child_mappings.in_force IS 'false: the link is disabled, or has not been enabled since the change';
COMMENT ON COLUMN crmsync.child_mappings.mapped IS 'false: unmapped or changed since the link was enabled, and in force until it is enabled again';

CREATE VIEW crmsync.group_mappings WITH (security_barrier) AS
SELECT l.name AS link, g.ldap_group, g.crm_group,
       l.enabled AND (l.armed_groups IS NULL OR NOT pg_catalog.bool_and(g.mapped)) AS in_force, pg_catalog.bool_or(g.mapped) AS mapped
FROM crmsync.link l
JOIN crmsync.visible_link v ON v.link = l.id
CROSS JOIN LATERAL (
    SELECT g.ldap_group, g.crm_group, true AS mapped FROM crmsync.group_mapping g WHERE g.link = l.id
    UNION ALL
    SELECT a.ldap_group, a.crm_group, false FROM pg_catalog.jsonb_populate_recordset(NULL::crmsync.group_mapping, l.armed_groups) a) g
GROUP BY l.id, g.ldap_group, g.crm_group;
COMMENT ON VIEW crmsync.group_mappings IS 'what map_group has mapped';
COMMENT ON COLUMN crmsync.group_mappings.link IS 'name of the link';
COMMENT ON COLUMN crmsync.group_mappings.ldap_group IS 'group of the directory';
COMMENT ON COLUMN crmsync.group_mappings.crm_group IS 'group of the CRM that its members belong to';
COMMENT ON COLUMN crmsync.group_mappings.in_force IS 'false: the link is disabled, or has not been enabled since the change';
COMMENT ON COLUMN crmsync.group_mappings.mapped IS 'false: unmapped since the link was enabled, and in force until it is enabled again';

CREATE VIEW crmsync.watches WITH (security_barrier) AS
SELECT l.name AS link, w.relation, w.column_name, w.lookup, w.columns
FROM crmsync.watched w
JOIN crmsync.link l ON l.id = w.link
JOIN crmsync.visible_link v ON v.link = l.id;
COMMENT ON VIEW crmsync.watches IS 'what watch watches';
COMMENT ON COLUMN crmsync.watches.link IS 'name of the link';
COMMENT ON COLUMN crmsync.watches.relation IS 'the watched relation';
COMMENT ON COLUMN crmsync.watches.column_name IS 'its column that holds the record''s key, or what the lookup starts from';
COMMENT ON COLUMN crmsync.watches.lookup IS 'query that returns keys for $1';
COMMENT ON COLUMN crmsync.watches.columns IS 'columns that count, beside those that crmsync finds';
