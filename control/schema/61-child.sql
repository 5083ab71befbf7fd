-- Mapping columns of child rows: which row of a record's rows in another table, by what it has in
-- fixed, by its position, and in which order the positions count.

CREATE FUNCTION crmsync.check_order(child jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation oid := crmsync.child_relation(child);
BEGIN
    IF child ->> 'order_by' IS NULL THEN
        IF crmsync.primary_key(relation) IS NULL THEN
            RAISE EXCEPTION '% has no primary key, so that only order_by can say which row is which', crmsync.relation_name(relation)
                USING ERRCODE = 'invalid_parameter_value', HINT = format('Columns: %s.', crmsync.column_list(relation));
        END IF;
        RETURN;
    END IF;
    BEGIN
        PERFORM crmsync.check_order_by(child ->> 'order_by');
    EXCEPTION WHEN syntax_error THEN
        RAISE EXCEPTION 'order_by is not what ORDER BY takes: %', child ->> 'order_by'
            USING ERRCODE = 'syntax_error', HINT = 'Columns or expressions, each with ASC or DESC if need be, with commas in between.';
    WHEN invalid_column_reference THEN
        RAISE EXCEPTION '% of order_by', sqlerrm
            USING ERRCODE = 'invalid_column_reference', HINT = 'Put c, the child row, or the name of the relation that it belongs to before it.';
    END;
    PERFORM crmsync.check_query(format('order_by %s', child ->> 'order_by'),
                                format('SELECT 1 AS one FROM %s c%s', child ->> 'relation', crmsync.child_order(child)));
END;
$$;
COMMENT ON FUNCTION crmsync.check_order(jsonb) IS 'refuses an order of child rows that is none';

CREATE FUNCTION crmsync.check_child(this crmsync.link, child jsonb, columns text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation oid := crmsync.find_relation('child table', child ->> 'relation');
    type oid := crmsync.check_column(relation, child ->> 'column');
    source oid := crmsync.find_relation('source', this.source);
    key_type oid := crmsync.check_column(source, this.key);
    chosen_by text[] := ARRAY(SELECT jsonb_object_keys(child -> 'fixed')) || (child ->> 'column');
    stray text;
BEGIN
    IF NOT crmsync.holds_keys(type, key_type) THEN
        RAISE EXCEPTION 'column "%" of % has type %, but the key of % has type %', child ->> 'column', crmsync.relation_name(relation),
                        format_type(type, NULL), crmsync.relation_name(source), format_type(key_type, NULL)
            USING ERRCODE = 'datatype_mismatch', HINT = 'Name the column that holds the key of the record that a row belongs to.';
    END IF;
    PERFORM crmsync.check_column(relation, c) FROM unnest(chosen_by || columns) c;
    stray := (SELECT min(c) FROM unnest(columns) c WHERE c = ANY (chosen_by));
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'column "%" of % says which row is meant, and cannot be mapped', stray, crmsync.relation_name(relation)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM crmsync.check_order(child);
    PERFORM crmsync.check_query('the child row', crmsync.child_query(child, columns, format('NULL::%s', format_type(type, -1))));
END;
$$;
COMMENT ON FUNCTION crmsync.check_child(crmsync.link, jsonb, text[]) IS 'refuses child rows that cannot be found, and columns of them that cannot be mapped';

-- A column is mapped to a property as it is, or with more of what map takes: {"property": name, ...}.
CREATE FUNCTION crmsync.child_fields(link integer, child jsonb, columns jsonb) RETURNS SETOF crmsync.mapping
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT child_fields.link, coalesce(c.value ->> 'property', c.value #>> '{}'), c.key, NULL, nullif(c.value -> 'value_map', 'null'),
           NULL, c.value ->> 'inbound', coalesce(nullif(c.value -> 'options', 'null'), '{}'), child_fields.child
    FROM jsonb_each(columns) c;
END;
COMMENT ON FUNCTION crmsync.child_fields(integer, jsonb, jsonb) IS 'the parameter columns of map_child, as what is mapped';

CREATE FUNCTION crmsync.check_child_columns(columns jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stray text;
BEGIN
    IF jsonb_typeof(columns) IS DISTINCT FROM 'object' OR columns = '{}'
       OR EXISTS (SELECT FROM jsonb_each(CASE jsonb_typeof(columns) WHEN 'object' THEN columns ELSE '{}' END) c
                  WHERE jsonb_typeof(coalesce(c.value -> 'property', c.value)) <> 'string') THEN
        RAISE EXCEPTION 'columns must say which column is which property'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"street": "business_street", "city": "business_city"}.';
    END IF;
    SELECT min(k) INTO stray FROM jsonb_each(columns) c, jsonb_object_keys(CASE jsonb_typeof(c.value) WHEN 'object' THEN c.value ELSE '{}' END) k
    WHERE k NOT IN ('property', 'value_map', 'inbound', 'options');
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'a column of child rows has no "%"', stray
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It has a property, and optionally value_map, inbound and options: {"country": {"property": "business_country", "value_map": {"DE": "Germany"}}}.';
    ELSIF (SELECT count(*) <> count(DISTINCT f.property) FROM crmsync.child_fields(NULL, NULL, columns) f) THEN
        RAISE EXCEPTION 'columns name a property twice' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_child_columns(jsonb) IS 'refuses what does not say which column of a child row is which property, and how';

CREATE FUNCTION crmsync.check_child_parameters(columns jsonb, fixed jsonb, "position" integer) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM crmsync.check_child_columns(columns);
    IF jsonb_typeof(fixed) IS DISTINCT FROM 'object' OR jsonb_path_exists(fixed, 'strict $.* ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE EXCEPTION 'fixed must say what the child rows have in which column'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"type": "billing", "is_primary": true, "deleted_at": null}.';
    ELSIF "position" IS NULL OR "position" NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'position must be between 1 and 1000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_child_parameters(jsonb, jsonb, integer) IS 'refuses parameters of map_child that have not the form they need';

CREATE FUNCTION crmsync.check_child_property(this crmsync.link, property text, crm text, child jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF property IN ('@mailbox', '@none') THEN
        RAISE EXCEPTION 'property % is not for child rows', property USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM crmsync.check_exchange_property(this, property, 'outbound');
    PERFORM crmsync.check_binary(crmsync.child_relation(child), crm, property);
    PERFORM crmsync.check_unmapped(this, property, crm, child);
END;
$$;
COMMENT ON FUNCTION crmsync.check_child_property(crmsync.link, text, text, jsonb) IS 'refuses a property that child rows cannot have, or that is mapped already';

CREATE FUNCTION crmsync.check_child_values(this crmsync.link, child jsonb, columns jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM crmsync.check_mapping_direction(this, f), crmsync.check_options('mapping', 'ews', f.options), crmsync.check_value_map(f.value_map),
            crmsync.check_choices(this.object, f.property, f.value_map),
            crmsync.check_field_conflict(this, crmsync.mapping_direction(this, f), f.options ->> 'conflict')
    FROM crmsync.child_fields(this.id, child, columns) f;
    PERFORM crmsync.check_unaltered(f.property) FROM crmsync.child_fields(this.id, child, columns) f WHERE f.value_map IS NOT NULL OR f.inbound IS NOT NULL;
    PERFORM crmsync.check_exchange_inbound(this, f), crmsync.check_day(this, f) FROM crmsync.child_fields(this.id, child, columns) f;
    PERFORM crmsync.check_exchange_values(this, f) FROM crmsync.child_fields(this.id, child, columns) f WHERE f.value_map IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION crmsync.check_child_values(crmsync.link, jsonb, jsonb) IS 'refuses what columns of child rows cannot make of their values';

-- Of positions of the same rows each must make the same of a value.
CREATE FUNCTION crmsync.child_forms(link integer, child jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_agg(jsonb_build_array(m.crm, m.value_map, m.inbound) ORDER BY m.crm) FROM crmsync.mapping_in_force(child_forms.link) m
    WHERE m.child = child_forms.child;
END;
COMMENT ON FUNCTION crmsync.child_forms(integer, jsonb) IS 'the mapped columns of child rows, with what is made of their values';

-- Rows that come in must be told apart: each by its primary key, and each from those of other mappings.
CREATE FUNCTION crmsync.check_children_apart(this crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT c.child ->> 'relation' AS relation INTO wrong FROM crmsync.children(this.id) c
    WHERE crmsync.primary_key(crmsync.child_relation(c.child)) IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'child table % has no primary key, and its rows cannot be written', wrong.relation
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT a.child ->> 'relation' AS relation, a.child ->> 'position' AS one, b.child ->> 'position' AS other INTO wrong
    FROM crmsync.children(this.id) a
    JOIN crmsync.children(this.id) b ON a.child - '{position,order_by}'::text[] = b.child - '{position,order_by}'::text[]
    WHERE a.number < b.number AND (crmsync.child_forms(this.id, a.child) <> crmsync.child_forms(this.id, b.child)
                                   OR a.child ->> 'order_by' IS DISTINCT FROM b.child ->> 'order_by') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'positions % and % of the rows of % must have the same columns, with the same value_map and inbound, and the same order', wrong.one, wrong.other, wrong.relation
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'In a link of direction both a row that changes its position takes its values along.';
    END IF;
    SELECT a.child ->> 'relation' AS relation, a.child -> 'fixed' AS one, b.child -> 'fixed' AS other INTO wrong
    FROM crmsync.children(this.id) a
    JOIN crmsync.children(this.id) b ON a.number < b.number AND a.child -> 'fixed' <> b.child -> 'fixed'
     AND a.child ->> 'relation' = b.child ->> 'relation' AND a.child ->> 'column' = b.child ->> 'column'
    WHERE NOT EXISTS (SELECT FROM jsonb_each(a.child -> 'fixed') x JOIN jsonb_each(b.child -> 'fixed') y ON x.key = y.key AND x.value <> y.value) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'fixed % and % may mean the same row of %', wrong.one, wrong.other, wrong.relation
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'In a link of direction both, give one column of fixed a different value in each, or map positions of the same rows.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_children_apart(crmsync.link) IS 'refuses child rows that could be the same row in two mappings, and rows that cannot be told apart';

CREATE FUNCTION crmsync.check_children_inbound(this crmsync.link, owner regrole) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing record;
BEGIN
    PERFORM crmsync.check_children_apart(this);
    SELECT m.child ->> 'relation' AS relation, m.crm AS column_name INTO missing FROM crmsync.mapping_in_force(this.id) m
    WHERE m.child ->> 'relation' IS NOT NULL AND m.child ->> 'order_by' IS NULL
      AND crmsync.mapping_direction(this, m) <> 'outbound' AND m.crm = ANY (crmsync.primary_key(crmsync.child_relation(m.child)))
    ORDER BY 1, 2 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" of % belongs to the primary key, which says in which order the rows stand, and cannot come in',
                        missing.column_name, missing.relation
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Call crmsync.map_child with order_by: what a user writes must not make it another row.';
    END IF;
    SELECT n.* INTO missing FROM (
        SELECT 'INSERT' AS privilege, c.child ->> 'relation' AS relation, u AS column_name
        FROM crmsync.children(this.id) c, unnest((c.child ->> 'column') || ARRAY(SELECT jsonb_object_keys(c.child -> 'fixed'))) u
        WHERE NOT has_column_privilege(owner, crmsync.child_relation(c.child), u, 'INSERT')
        UNION ALL
        SELECT p.privilege, m.child ->> 'relation', m.crm FROM crmsync.mapping_in_force(this.id) m, unnest('{INSERT,UPDATE}'::text[]) AS p (privilege)
        WHERE m.child IS NOT NULL AND crmsync.mapping_direction(this, m) <> 'outbound'
          AND NOT has_column_privilege(owner, crmsync.child_relation(m.child), m.crm, p.privilege)
        UNION ALL
        SELECT 'DELETE', c.child ->> 'relation', NULL FROM crmsync.children(this.id) c
        WHERE NOT has_table_privilege(owner, crmsync.child_relation(c.child), 'DELETE')
        UNION ALL
        -- Whoever adds a child row is waited for, by a lock of the record.
        SELECT 'UPDATE', this.source, NULL FROM pg_class s
        WHERE s.oid = to_regclass(this.source) AND s.relkind IN ('r', 'p') AND EXISTS (SELECT FROM crmsync.children(this.id))
          AND NOT has_any_column_privilege(owner, s.oid, 'UPDATE')) AS n
    ORDER BY n.relation, n.privilege, n.column_name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege % on %', owner, this.name, missing.privilege,
                        concat('column ' || quote_ident(missing.column_name) || ' of ', missing.relation)
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT %s%s ON TABLE %s TO %s;', missing.privilege, ' (' || quote_ident(missing.column_name) || ')', missing.relation, owner);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_children_inbound(crmsync.link, regrole) IS 'refuses child rows that the owner of a link of direction both may not write, that cannot be told apart, or whose order would change with what comes in';

CREATE FUNCTION crmsync.map_child(
    link text, relation regclass, column_name text, columns jsonb, fixed jsonb DEFAULT '{}',
    "position" integer DEFAULT 1, order_by text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
    which jsonb;
BEGIN
    IF (SELECT t.kind FROM crmsync.target t WHERE t.name = this.target) = 'ldap' THEN
        RAISE EXCEPTION 'link "%" imports from a directory, and has no child rows', link USING ERRCODE = 'invalid_parameter_value';
    ELSIF relation IS NULL THEN
        RAISE EXCEPTION 'map_child needs a relation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM crmsync.check_may_run_as_owner(this);
    PERFORM crmsync.check_child_parameters(columns, fixed, map_child."position");
    which := jsonb_build_object('relation', crmsync.check_relation('child table', relation, '{r,p}'), 'column', column_name,
                                'fixed', fixed, 'position', map_child."position", 'order_by', order_by);
    PERFORM crmsync.check_child(this, which, ARRAY(SELECT jsonb_object_keys(columns) ORDER BY 1));
    PERFORM crmsync.check_child_property(this, f.property, f.crm, which) FROM crmsync.child_fields(this.id, which, columns) f;
    PERFORM crmsync.check_child_values(this, which, columns);
    DELETE FROM crmsync.mapping m WHERE m.link = this.id AND m.child - 'order_by' = which - 'order_by';
    INSERT INTO crmsync.mapping SELECT f.* FROM crmsync.child_fields(this.id, which, columns) f;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.map_child(text, regclass, text, jsonb, jsonb, integer, text) IS 'maps columns of a child row, {column: property}, or {column: {"property": name, "value_map": {...}, "inbound": expression, "options": {...}}} as in map: of the rows whose column_name holds the record''s key and that have what fixed says, the one at this position in the order of order_by; again for the same row: replaces the mapping';

CREATE FUNCTION crmsync.unmap_child(
    link text, relation text, column_name text DEFAULT NULL, fixed jsonb DEFAULT NULL, "position" integer DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
    name text := coalesce(crmsync.relation_name(to_regclass(unmap_child.relation)), unmap_child.relation);
BEGIN
    DELETE FROM crmsync.mapping m
    WHERE m.link = this.id AND m.child ->> 'relation' = name
      AND m.child ->> 'column' = coalesce(unmap_child.column_name, m.child ->> 'column')
      AND m.child -> 'fixed' = coalesce(unmap_child.fixed, m.child -> 'fixed')
      AND (m.child ->> 'position')::integer = coalesce(unmap_child."position", (m.child ->> 'position')::integer);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'link "%" maps no such rows of %', link, name
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'Mapped: ' || string_agg(DISTINCT format('%s by %s, fixed %s, position %s', m.child ->> 'relation',
                                                                                  m.child ->> 'column', m.child -> 'fixed', m.child ->> 'position'), '; ') || '.'
                                   FROM crmsync.mapping m WHERE m.link = this.id AND m.child IS NOT NULL), 'It maps no child rows.');
    END IF;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.unmap_child(text, text, text, jsonb, integer) IS 'undoes map_child, also of a relation that is gone; NULL: all columns, all values of fixed, all positions';

-- A look at a million rows for each record would be the end of all speed.
CREATE FUNCTION crmsync.warn_unindexed(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    slow record;
BEGIN
    FOR slow IN
        SELECT DISTINCT c.child ->> 'relation' AS relation, c.child ->> 'column' AS column_name
        FROM crmsync.children(this.id) c
        WHERE NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = crmsync.child_relation(c.child) AND i.indisvalid AND i.indpred IS NULL AND a.attname = c.child ->> 'column')
        ORDER BY 1, 2
    LOOP
        RAISE WARNING 'link "%" looks rows of % up by column "%", which has no index', this.name, slow.relation, slow.column_name
            USING HINT = format('CREATE INDEX ON %s (%I);', slow.relation, slow.column_name);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.warn_unindexed(crmsync.link) IS 'warns of child tables that are read whole for every record';
