-- The queries of a link. enable_link checks the same text that the worker runs; it has only no
-- parameter, so the places where $1 stands are filled in by the caller.

CREATE FUNCTION crmsync.mapping_in_force(link integer) RETURNS SETOF crmsync.mapping
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT m.* FROM crmsync.mapping m JOIN crmsync.link l ON l.id = m.link
    WHERE l.id = mapping_in_force.link AND (NOT l.enabled OR l.armed_mapping IS NULL)
    UNION ALL
    SELECT m.* FROM crmsync.link l, jsonb_populate_recordset(NULL::crmsync.mapping, l.armed_mapping) m
    WHERE l.id = mapping_in_force.link AND l.enabled;
END;
COMMENT ON FUNCTION crmsync.mapping_in_force(integer) IS 'the mapping that a link works with: an enabled one keeps to what enable_link found';

CREATE FUNCTION crmsync.group_mapping_in_force(link integer) RETURNS SETOF crmsync.group_mapping
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT g.* FROM crmsync.group_mapping g JOIN crmsync.link l ON l.id = g.link
    WHERE l.id = group_mapping_in_force.link AND (NOT l.enabled OR l.armed_groups IS NULL)
    UNION ALL
    SELECT g.* FROM crmsync.link l, jsonb_populate_recordset(NULL::crmsync.group_mapping, l.armed_groups) g
    WHERE l.id = group_mapping_in_force.link AND l.enabled;
END;
COMMENT ON FUNCTION crmsync.group_mapping_in_force(integer) IS 'the mapping of groups that a link works with, likewise';

-- In the order of the keys of a jsonb, so that shadows need no sorting.
CREATE FUNCTION crmsync.layout(link integer) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT m.property
    FROM crmsync.mapping_in_force(layout.link) m
    WHERE m.property NOT IN ('@none', '@mailbox')
    ORDER BY length(m.property), m.property COLLATE "C";
END;
COMMENT ON FUNCTION crmsync.layout(integer) IS 'properties of which both sides may have values, in the order of the columns of source_query';

-- The form that value_expression gives a value, turned back.
CREATE FUNCTION crmsync.column_expression(source oid, crm text, inbound text, parameter text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN inbound IS NOT NULL
        THEN format(E'(%s\n)', regexp_replace(inbound, E'\\$1(?![0-9])', parameter, 'g'))
    WHEN crmsync.base_type(crmsync.column_type(source, crm)) = 'bytea'::regtype
        THEN format('decode(%s, ''base64'')', parameter)
    WHEN (SELECT t.typcategory FROM pg_type t WHERE t.oid = crmsync.base_type(crmsync.column_type(source, crm))) = 'A'
        THEN format('CASE WHEN %s IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(%1$s::jsonb)) END', parameter)
    ELSE parameter END
    || '::' || format_type(crmsync.column_type(source, crm), -1);
COMMENT ON FUNCTION crmsync.column_expression(oid, text, text, text) IS 'expression for what a mapped column gets of a property''s canonical text, which parameter is an expression for';

CREATE FUNCTION crmsync.new_row_columns(link integer) RETURNS TABLE (column_name text, expression text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT quote_ident(m.crm),
           CASE m.property WHEN '@mailbox' THEN crmsync.column_expression(to_regclass(l.source), m.crm, m.inbound, 'v.mailbox')
                           ELSE format(E'(%s\n)::%s', m.inbound, format_type(crmsync.column_type(to_regclass(l.source), m.crm), -1)) END
    FROM crmsync.link l JOIN crmsync.mapping_in_force(l.id) m ON m.property IN ('@mailbox', '@none')
    WHERE l.id = new_row_columns.link AND crmsync.column_type(to_regclass(l.source), m.crm) IS NOT NULL
    ORDER BY 1;
END;
COMMENT ON FUNCTION crmsync.new_row_columns(integer) IS 'columns that rows made of new items get beside their values, with the expression for each over v.mailbox';

CREATE FUNCTION crmsync.key_type(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.type_name(crmsync.column_type(to_regclass(l.source), l.key))
    FROM crmsync.link l WHERE l.id = key_type.link;
END;
COMMENT ON FUNCTION crmsync.key_type(integer) IS 'type to cast the text of a key to; NULL: the source or the key is gone';

-- jsonb gives every type one form, whatever DateStyle and IntervalStyle say: ISO dates, arrays as
-- JSON. Most columns are text, though, and need no such detour.
CREATE FUNCTION crmsync.value_expression(relation oid, crm text, row_name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN crm LIKE '(%' THEN format(E'jsonb_build_array(%s\n) ->> 0', crm)
    WHEN crmsync.base_type(crmsync.column_type(relation, crm)) = 'bytea'::regtype
        THEN format(E'translate(encode(%s.%I, ''base64''), E''\\n'', '''')', row_name, crm)
    WHEN crmsync.base_type(crmsync.column_type(relation, crm)) = ANY ('{text,varchar,bpchar,name,int2,int4,int8,uuid,boolean}'::regtype[])
        THEN format('%s.%I::text', row_name, crm)
    ELSE format('jsonb_build_array(%s.%I) ->> 0', row_name, crm) END;
COMMENT ON FUNCTION crmsync.value_expression(oid, text, text) IS 'expression for the canonical text of a mapped column of a row, or of a mapped expression';

CREATE FUNCTION crmsync.bytes_expression(crm text, row_name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN crm LIKE '(%' THEN crm || E'\n' ELSE format('%s.%I', row_name, crm) END;
COMMENT ON FUNCTION crmsync.bytes_expression(text, text) IS 'a mapped column of a row, or a mapped expression, as it is';

-- What is too large need not be read whole to be refused.
CREATE FUNCTION crmsync.description_expression(crm text, row_name text, most integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN most IS NOT NULL THEN
    format('(SELECT concat(encode(substring(d.x, 1, 8), ''hex''), '', '', octet_length(d.x), '' bytes'', '
           'CASE WHEN octet_length(d.x) <= %s THEN '', sha256 '' || encode(sha256(d.x), ''hex'') END) '
           'FROM (SELECT %s AS x OFFSET 0) d WHERE octet_length(d.x) > 0)', most, crmsync.bytes_expression(crm, row_name)) END;
COMMENT ON FUNCTION crmsync.description_expression(text, text, integer) IS 'expression for the description of the bytes of a mapped column or expression, which may be so many at most; NULL: there is no most';

CREATE FUNCTION crmsync.children(link integer) RETURNS TABLE (child jsonb, number integer, columns text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT m.child, row_number() OVER (ORDER BY m.child)::integer, array_agg(m.crm ORDER BY m.crm)
    FROM crmsync.mapping_in_force(children.link) m
    WHERE m.child IS NOT NULL
    GROUP BY m.child ORDER BY m.child;
END;
COMMENT ON FUNCTION crmsync.children(integer) IS 'the child rows that a link maps, from 1, with the mapped columns';

CREATE FUNCTION crmsync.children_are_there(link integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN NOT EXISTS (SELECT FROM crmsync.children(link) c WHERE crmsync.child_relation(c.child) IS NULL);
COMMENT ON FUNCTION crmsync.children_are_there(integer) IS 'whether the tables of all child rows exist';

-- In the words of check_column: what the queries themselves say of a column names what they call its relation.
CREATE FUNCTION crmsync.column_problem(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT string_agg(format('column "%s" of relation %s does not exist', n.column_name, crmsync.relation_name(n.relation)), '; '
                      ORDER BY crmsync.relation_name(n.relation), n.column_name)
    FROM (SELECT x.relation, x.column_name
          FROM crmsync.link l
          CROSS JOIN LATERAL (VALUES (to_regclass(l.source), l.key), (to_regclass(l.audience), 'record'),
                                     (to_regclass(l.audience), 'mailbox'), (to_regclass(l.mailboxes), 'mailbox')) AS x (relation, column_name)
          WHERE l.id = column_problem.link
          UNION
          SELECT to_regclass(l.source), m.crm
          FROM crmsync.link l JOIN crmsync.mapping_in_force(l.id) m ON m.child IS NULL AND m.crm NOT LIKE '(%' AND m.property NOT IN ('@none', '@mailbox')
          WHERE l.id = column_problem.link
          UNION
          SELECT crmsync.child_relation(c.child), x.column_name
          FROM crmsync.children(column_problem.link) c
          CROSS JOIN LATERAL (SELECT unnest(c.columns) UNION SELECT c.child ->> 'column'
                              UNION SELECT jsonb_object_keys(c.child -> 'fixed')) AS x (column_name)) AS n
    WHERE n.relation IS NOT NULL AND crmsync.column_type(n.relation, n.column_name) IS NULL;
END;
COMMENT ON FUNCTION crmsync.column_problem(integer) IS 'columns that the queries of a link name and that are gone; NULL: none';

CREATE FUNCTION crmsync.inbound_columns(link integer)
RETURNS TABLE (property text, child_number integer, column_name text, expression text, restoring text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT p.property, CASE WHEN l.apply IS NULL THEN c.number END, quote_ident(m.crm),
           crmsync.column_expression(t.relation, m.crm, m.inbound, format('v.v%s', p.position)),
           crmsync.column_expression(t.relation, m.crm, NULL, format('v.v%s', p.position))
    FROM crmsync.link l
    CROSS JOIN crmsync.layout(l.id) WITH ORDINALITY AS p (property, position)
    JOIN crmsync.mapping_in_force(l.id) m ON m.property = p.property
    LEFT JOIN crmsync.children(l.id) c ON c.child = m.child
    CROSS JOIN LATERAL (SELECT CASE WHEN m.child IS NULL THEN to_regclass(l.source) ELSE crmsync.child_relation(m.child) END) AS t (relation)
    WHERE l.id = inbound_columns.link AND crmsync.mapping_direction(l, m) IN ('inbound', 'both')
      AND (l.apply IS NOT NULL OR crmsync.column_type(t.relation, m.crm) IS NOT NULL)
    ORDER BY c.number, m.crm;
END;
COMMENT ON FUNCTION crmsync.inbound_columns(integer) IS 'columns of the source and (child_number, as in children) of child rows that an inbound link writes, or properties that its apply function is told, with the expression for each over v.vN, N being the place of the property in layout; restoring: for a value that the CRM has had itself';

CREATE FUNCTION crmsync.child_rows_query(child jsonb, columns text[], key_type text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT k.record%s%s FROM unnest($1::text[]) AS k (record) CROSS JOIN LATERAL (%s) c',
                  (SELECT string_agg(', ' || crmsync.value_expression(t.relation, u, 'c'), '' ORDER BY n) FROM unnest(columns) WITH ORDINALITY AS u (u, n)),
                  (SELECT string_agg(format(', c.%I::text', u), '' ORDER BY n) FROM unnest(crmsync.primary_key(t.relation)) WITH ORDINALITY AS u (u, n)),
                  crmsync.child_query(child, columns || ARRAY(SELECT u FROM unnest(crmsync.primary_key(t.relation)) u WHERE u <> ALL (columns)),
                                      'k.record::' || key_type))
    FROM crmsync.child_relation(child) AS t (relation);
END;
COMMENT ON FUNCTION crmsync.child_rows_query(jsonb, text[], text) IS 'query for the values of columns, as in source_query, and the primary key, of the child rows of the records $1 (text[]), whose keys are of this type';

CREATE FUNCTION crmsync.child_rows(link integer)
RETURNS TABLE (number integer, relation text, column_name text, column_type text, rows_query text, fixed_columns text, fixed_values text, alike integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.number, c.child ->> 'relation', quote_ident(c.child ->> 'column'),
           format_type(crmsync.column_type(crmsync.child_relation(c.child), c.child ->> 'column'), -1),
           crmsync.child_rows_query(c.child, c.columns, crmsync.key_type(child_rows.link)),
           f.columns, f.values, first_value(c.number) OVER (PARTITION BY c.child - 'position' ORDER BY c.number)
    FROM crmsync.children(child_rows.link) c
    JOIN crmsync.link l ON l.id = child_rows.link AND l.apply IS NULL
    CROSS JOIN LATERAL (SELECT coalesce(string_agg(format(', %I', k), '' ORDER BY k), ''),
                               coalesce(string_agg(', ' || crmsync.fixed_value(c.child, k), '' ORDER BY k), '')
                        FROM jsonb_object_keys(c.child -> 'fixed') k) AS f (columns, values)
    ORDER BY c.number;
END;
COMMENT ON FUNCTION crmsync.child_rows(integer) IS 'how child rows are written where no apply function does it: rows_query gives record, values of the mapped columns and primary key of those that there are; alike: the first of those that differ by position only';

CREATE FUNCTION crmsync.child_keys(link integer) RETURNS TABLE (number integer, column_name text, column_type text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.number, quote_ident(k.name), format_type(crmsync.column_type(crmsync.child_relation(c.child), k.name), -1)
    FROM crmsync.children(child_keys.link) c
    JOIN crmsync.link l ON l.id = child_keys.link AND l.apply IS NULL
    CROSS JOIN unnest(crmsync.primary_key(crmsync.child_relation(c.child))) WITH ORDINALITY AS k (name, place)
    ORDER BY c.number, k.place;
END;
COMMENT ON FUNCTION crmsync.child_keys(integer) IS 'columns of the primary keys of child rows, with their types';

CREATE FUNCTION crmsync.build_row_query(link integer, expressions text, records text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT r.%I::text AS key%s FROM %s r%s', l.key, expressions, l.source,
                  (SELECT string_agg(format(' LEFT JOIN LATERAL (%s) c%s ON true',
                                            crmsync.child_query(c.child, c.columns, format('r.%I', l.key)), c.number),
                                     '' ORDER BY c.number)
                   FROM crmsync.children(l.id) c))
        || CASE WHEN records IS NULL THEN '' ELSE format(' WHERE r.%I = ANY (%s::%s[])', l.key, records, crmsync.key_type(l.id)) END
    FROM crmsync.link l
    WHERE l.id = build_row_query.link AND to_regclass(l.source) IS NOT NULL AND crmsync.children_are_there(l.id);
END;
COMMENT ON FUNCTION crmsync.build_row_query(integer, text, text) IS 'query for keys and expressions, a comma before each, of the records that an expression of type text[] names; NULL: all records';

CREATE FUNCTION crmsync.value_columns(link integer) RETURNS TABLE (property text, place bigint, expression text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT m.property, row_number() OVER (ORDER BY length(m.property), m.property COLLATE "C"),
           coalesce(crmsync.description_expression(m.crm, coalesce('c' || c.number, 'r'), crmsync.binary_limit(m.property)),
                    crmsync.value_expression(CASE WHEN c.child IS NULL THEN to_regclass(l.source) ELSE crmsync.child_relation(c.child) END,
                                             m.crm, coalesce('c' || c.number, 'r')))
    FROM crmsync.link l
    JOIN crmsync.mapping_in_force(l.id) m ON m.property NOT IN ('@none', '@mailbox')
    LEFT JOIN crmsync.children(l.id) c ON c.child = m.child
    WHERE l.id = value_columns.link;
END;
COMMENT ON FUNCTION crmsync.value_columns(integer) IS 'expression for the value that the CRM has for each property, over a row of build_row_query, and the property''s place in layout';

CREATE FUNCTION crmsync.build_source_query(link integer, records text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.build_row_query(
        build_source_query.link,
        (SELECT string_agg(format(', %s AS v%s', v.expression, v.place), '' ORDER BY v.place) FROM crmsync.value_columns(build_source_query.link) v),
        records);
END;
COMMENT ON FUNCTION crmsync.build_source_query(integer, text) IS 'query for keys and values of the records that an expression of type text[] names; NULL: all records';

CREATE FUNCTION crmsync.match_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.build_row_query(
        l.id,
        (SELECT string_agg(', ' || v.expression, '' ORDER BY p.n)
         FROM unnest(l.match_on) WITH ORDINALITY AS p (property, n) JOIN crmsync.value_columns(l.id) v USING (property)),
        '$1::text[]')
    FROM crmsync.link l
    WHERE l.id = match_query.link;
END;
COMMENT ON FUNCTION crmsync.match_query(integer) IS 'query for key and values of match_on of the records $1 (text[]), and nothing else, which may fail where these do not; NULL: the source or a child table is gone';

CREATE FUNCTION crmsync.content_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.build_row_query(content_query.link, format(E', translate(encode(%s, ''base64''), E''\\n'', '''') AS content',
                                   crmsync.bytes_expression(m.crm, coalesce('c' || c.number, 'r'))), '$1::text[]')
    FROM crmsync.mapping_in_force(content_query.link) m
    LEFT JOIN crmsync.children(content_query.link) c ON c.child = m.child
    WHERE crmsync.binary_limit(m.property) IS NOT NULL;
END;
COMMENT ON FUNCTION crmsync.content_query(integer) IS 'query for the key and, in base64, the bytes that a value only describes, of the records $1 (text[]); NULL: there are no such values';

CREATE FUNCTION crmsync.source_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN crmsync.build_source_query(link, '$1::text[]');
COMMENT ON FUNCTION crmsync.source_query(integer) IS 'query for key and values of the records $1 (text[]), columns as in layout; NULL: the source or a child table is gone';

-- To the second, as Exchange keeps it.
CREATE FUNCTION crmsync.modified_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT r.%1$I::text AS key, CASE WHEN isfinite(r.%2$I) THEN floor(extract(epoch FROM r.%2$I))::bigint END AS modified '
                  'FROM %3$s r WHERE r.%1$I = ANY ($1::text[]::%4$s[])',
                  l.key, l.options ->> 'modified_column', l.source, crmsync.key_type(l.id))
    FROM crmsync.link l
    WHERE l.id = modified_query.link AND l.options ? 'modified_column'
      AND crmsync.column_type(to_regclass(l.source), l.options ->> 'modified_column') IS NOT NULL;
END;
COMMENT ON FUNCTION crmsync.modified_query(integer) IS 'query for when each of the records $1 (text[]) was last changed; NULL: the link does not ask, or the column is gone';

CREATE FUNCTION crmsync.key_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT r.%I::text AS key FROM %s r', l.key, l.source)
    FROM crmsync.link l WHERE l.id = key_query.link AND to_regclass(l.source) IS NOT NULL;
END;
COMMENT ON FUNCTION crmsync.key_query(integer) IS 'query for the keys of all records; NULL: the source is gone';

-- An integer audience may be narrower than the key: its type could not take every key.
CREATE FUNCTION crmsync.record_type(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.type_name(CASE WHEN crmsync.is_integer_type(k.oid) AND r.typlen < k.typlen THEN k.oid ELSE r.oid END)
    FROM crmsync.link l
    JOIN pg_type r ON r.oid = crmsync.base_type(crmsync.column_type(to_regclass(l.audience), 'record'))
    LEFT JOIN pg_type k ON k.oid = crmsync.base_type(crmsync.column_type(to_regclass(l.source), l.key))
    WHERE l.id = record_type.link;
END;
COMMENT ON FUNCTION crmsync.record_type(integer) IS 'type to cast the text of a key to, to compare it with the audience''s column record';

-- An address is the same however its ASCII letters are written, whatever the language of the database
-- makes of an I.
CREATE FUNCTION crmsync.address_expression(written text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN format('lower(btrim((%s)::text) COLLATE "C")', written);
COMMENT ON FUNCTION crmsync.address_expression(text) IS 'expression for a mailbox''s address as crmsync knows it, from an expression for how it was written';

CREATE FUNCTION crmsync.address(written text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN lower(btrim(written) COLLATE "C");
COMMENT ON FUNCTION crmsync.address(text) IS 'what address_expression is, of one address';

CREATE FUNCTION crmsync.build_audience_query(link integer, records text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT %sa.record::text COLLATE "C" AS record, nullif(%s, '''') AS mailbox FROM %s a '
                  'WHERE a.record IS NOT NULL',
                  CASE WHEN records IS NOT NULL THEN 'DISTINCT ' ELSE '' END, crmsync.address_expression('a.mailbox'), l.audience)
        || CASE WHEN records IS NULL THEN ''
                ELSE format(' AND btrim(a.mailbox::text) <> '''' AND a.record = ANY (%s::%s[])', records,
                            crmsync.record_type(l.id)) END
    FROM crmsync.link l
    WHERE l.id = build_audience_query.link AND to_regclass(l.audience) IS NOT NULL;
END;
COMMENT ON FUNCTION crmsync.build_audience_query(integer, text) IS 'query for the mailboxes of the records that an expression of type text[] names; NULL: of all records, with those that have none, and some perhaps more than once';

CREATE FUNCTION crmsync.audience_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN crmsync.build_audience_query(link, '$1::text[]');
COMMENT ON FUNCTION crmsync.audience_query(integer) IS 'query for record and mailbox of the records $1 (text[]); NULL: there is no audience';

CREATE FUNCTION crmsync.audience_in_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.build_audience_query(l.id, NULL) || format(' AND %s = ANY ($1::text[])', crmsync.address_expression('a.mailbox'))
    FROM crmsync.link l WHERE l.id = audience_in_query.link;
END;
COMMENT ON FUNCTION crmsync.audience_in_query(integer) IS 'query for record and mailbox of the mailboxes $1 (text[], in lower case), some perhaps more than once; NULL: there is no audience';

CREATE FUNCTION crmsync.audience_all_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN crmsync.build_audience_query(link, NULL);
COMMENT ON FUNCTION crmsync.audience_all_query(integer) IS 'query for record and mailbox of all records, some perhaps more than once, NULL where a row names no mailbox; NULL: there is no audience';

-- A mailbox at a target that does not exist, or is of another kind, takes no part.
CREATE FUNCTION crmsync.mailboxes_query(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('SELECT %6$s AS mailbox, bool_or(%1$s) AS enabled, bool_or(%2$s) AS automatic, max(%3$s) AS id, '
                  'max(%4$s) FILTER (WHERE %1$s) AS target FROM %5$s m WHERE btrim(m.mailbox::text) <> '''' GROUP BY 1',
                  CASE WHEN crmsync.column_type(to_regclass(l.mailboxes), 'enabled') IS NULL THEN 'true'
                       ELSE 'coalesce(m.enabled, true)' END
                  || CASE WHEN place.is_named
                          THEN format(' AND coalesce(m.target::text, %L) = ANY (%L::text[])', l.target, place.targets) ELSE '' END,
                  CASE WHEN crmsync.column_type(to_regclass(l.mailboxes), 'automatic') IS NULL THEN 'true'
                       ELSE 'coalesce(m.automatic, true)' END,
                  CASE WHEN crmsync.column_type(to_regclass(l.mailboxes), 'id') IS NULL THEN 'NULL::text' ELSE 'm.id::text' END,
                  CASE WHEN place.is_named THEN format('coalesce(m.target::text, %L)', l.target) ELSE 'NULL::text' END,
                  l.mailboxes, crmsync.address_expression('m.mailbox'))
    FROM crmsync.link l
    JOIN crmsync.target own ON own.name = l.target
    CROSS JOIN LATERAL (SELECT crmsync.column_type(to_regclass(l.mailboxes), 'target') IS NOT NULL AS is_named,
                               ARRAY(SELECT t.name FROM crmsync.target t WHERE t.kind = own.kind ORDER BY t.name) AS targets) place
    WHERE l.id = mailboxes_query.link AND to_regclass(l.mailboxes) IS NOT NULL;
END;
COMMENT ON FUNCTION crmsync.mailboxes_query(integer) IS 'query for mailbox, enabled, automatic, the lasting id of its user and the target that it is at; NULL: the link has no relation of mailboxes';

-- An address that another user has now belongs to him; what was there before is nobody's until its user
-- turns up again.
CREATE FUNCTION crmsync.know_mailboxes(link integer, addresses text[], ids text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed integer[];
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(addresses, ids) u (address, id)
                   JOIN crmsync.mailbox m ON m.link = know_mailboxes.link AND m.user_id = u.id WHERE m.address <> u.address)
       AND NOT EXISTS (SELECT FROM unnest(addresses, ids) u (address, id)
                       JOIN crmsync.mailbox m ON m.link = know_mailboxes.link AND m.address = u.address
                       WHERE u.id IS NOT NULL AND m.user_id IS DISTINCT FROM u.id) THEN
        RETURN;
    END IF;
    WITH left_behind AS (
        UPDATE crmsync.mailbox m SET address = format('%s (%s)', m.address, m.user_id)
        FROM unnest(addresses, ids) u (address, id)
        WHERE m.link = know_mailboxes.link AND m.address = u.address AND m.user_id <> u.id RETURNING m.id)
    SELECT array_agg(l.id) INTO changed FROM left_behind l;
    WITH renamed AS (
        UPDATE crmsync.mailbox m SET address = u.address, code = NULL, message = NULL, since = NULL, attempts = 0, next_attempt = NULL
        FROM unnest(addresses, ids) u (address, id)
        WHERE m.link = know_mailboxes.link AND m.user_id = u.id AND m.address <> u.address
          AND NOT EXISTS (SELECT FROM crmsync.mailbox o WHERE o.link = m.link AND o.address = u.address) RETURNING m.id)
    SELECT changed || array_agg(r.id) INTO changed FROM renamed r;
    UPDATE crmsync.mailbox m SET user_id = u.id
    FROM unnest(addresses, ids) u (address, id)
    WHERE m.link = know_mailboxes.link AND m.address = u.address AND m.user_id IS NULL AND u.id IS NOT NULL
      AND NOT EXISTS (SELECT FROM crmsync.mailbox o WHERE o.link = m.link AND o.user_id = u.id);
    -- What is queued for the old ones is not to go there: they may be other users' by now.
    IF changed IS NOT NULL THEN
        INSERT INTO crmsync.request (action, link, mailbox) SELECT DISTINCT 'readdress', know_mailboxes.link, c FROM unnest(changed) c;
        PERFORM crmsync.wake();
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.know_mailboxes(integer, text[], text[]) IS 'mailboxes whose users have other addresses now get them; by the worker';
