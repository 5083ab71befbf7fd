-- Child rows: rows of another table that belong to a record, such as its e-mail addresses. A mapping
-- of a child's column says in crmsync.mapping.child which of them it is for: {"relation": name,
-- "column": the one that holds the record's key, "fixed": {column: value}, "position": number,
-- "order_by": text or null}. In queries the child row is c.

CREATE FUNCTION crmsync.primary_key(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT array_agg(a.attname::text ORDER BY k.place)
    FROM pg_index i
    CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = relation AND i.indisprimary AND k.place <= i.indnkeyatts;
END;
COMMENT ON FUNCTION crmsync.primary_key(oid) IS 'columns of the primary key; NULL: there is none';

CREATE FUNCTION crmsync.child_relation(child jsonb) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN to_regclass(child ->> 'relation');
COMMENT ON FUNCTION crmsync.child_relation(jsonb) IS 'the table of child rows; NULL: it is gone';

CREATE FUNCTION crmsync.fixed_value(child jsonb, column_name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('%L::%s', child -> 'fixed' ->> column_name,
              format_type(crmsync.column_type(crmsync.child_relation(child), column_name), -1));
COMMENT ON FUNCTION crmsync.fixed_value(jsonb, text) IS 'expression for what child rows have in a column of fixed';

CREATE FUNCTION crmsync.child_condition(child jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce(string_agg(CASE WHEN f.value IS NULL THEN format(' AND c.%I IS NULL', f.key)
                                    ELSE format(' AND c.%I = %s', f.key, crmsync.fixed_value(child, f.key)) END,
                               '' ORDER BY f.key), '')
    FROM jsonb_each_text(child -> 'fixed') f;
END;
COMMENT ON FUNCTION crmsync.child_condition(jsonb) IS 'condition on c for fixed, to stand after another';

-- Where order_by leaves it open, the primary key decides: a position must mean the same row tomorrow.
CREATE FUNCTION crmsync.child_order(child jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN coalesce(' ORDER BY ' || nullif(concat_ws(', ', (child ->> 'order_by') || E'\n', (
    SELECT string_agg(format('c.%I', k), ', ' ORDER BY n)
    FROM unnest(crmsync.primary_key(crmsync.child_relation(child))) WITH ORDINALITY AS p (k, n))), ''), '');
COMMENT ON FUNCTION crmsync.child_order(jsonb) IS 'order in which the positions of child rows c count';

CREATE FUNCTION crmsync.child_query(child jsonb, columns text[], key text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT %s FROM %s c WHERE c.%I = %s%s%s LIMIT 1 OFFSET %s',
              (SELECT string_agg(format('c.%I', k), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY AS u (k, n)),
              child ->> 'relation', child ->> 'column', key, crmsync.child_condition(child), crmsync.child_order(child),
              (child ->> 'position')::integer - 1);
COMMENT ON FUNCTION crmsync.child_query(jsonb, text[], text) IS 'query for columns of the child row of the record that the expression key names';
