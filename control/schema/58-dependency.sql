-- What a query reads. A temporary view is made of it and rolled back at once; in between, the
-- catalogs know which relations, columns and functions it needs, through nested views as well.

CREATE FUNCTION crmsync.read_by(query text)
RETURNS TABLE (object oid, class text, column_name text, direct boolean, as_caller boolean, times integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    found jsonb;
BEGIN
    BEGIN
        PERFORM crmsync.compile(query);
        SELECT jsonb_agg(d) INTO found FROM crmsync.read_by_view('pg_temp.crmsync_compiled'::regclass) d;
        RAISE EXCEPTION USING ERRCODE = 'CY000', MESSAGE = 'the view is not kept';
    EXCEPTION WHEN SQLSTATE 'CY000' THEN
        NULL;
    END;
    RETURN QUERY SELECT d.* FROM jsonb_to_recordset(found)
        AS d (object oid, class text, column_name text, direct boolean, as_caller boolean, times integer);
END;
$$;
COMMENT ON FUNCTION crmsync.read_by(text) IS 'relations with columns, and functions, that a query needs; fails like the query when it does not compile';

-- A reference to a whole row leaves no trace of columns in pg_depend, only in the rule itself; then
-- all columns of every relation that the rule reads count.
CREATE FUNCTION crmsync.read_by_view(view oid)
RETURNS TABLE (object oid, class text, column_name text, direct boolean, as_caller boolean, times integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE view_rule (relation, rule, as_caller) AS (
        SELECT w.ev_class, w.oid, true FROM pg_rewrite w WHERE w.ev_class = read_by_view.view
        UNION
        SELECT w.ev_class, w.oid,
               EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)
        FROM view_rule v
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = v.rule AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class c ON c.oid = d.refobjid AND c.relkind = 'v'
        JOIN pg_rewrite w ON w.ev_class = c.oid AND w.rulename = '_RETURN'
    ), needed AS (
        SELECT d.refobjid AS object, d.refclassid AS class, d.refobjsubid AS attribute, v.relation, v.as_caller, w.ev_action::text AS tree
        FROM view_rule v
        JOIN pg_rewrite w ON w.oid = v.rule
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = v.rule AND d.deptype = 'n'
        WHERE d.refobjid <> v.relation
    ), named AS (
        SELECT o.object, sum(o.times)::integer AS times
        FROM (SELECT DISTINCT n.object, n.relation,
                     (SELECT count(*) FROM regexp_matches(n.tree, format(':rtekind 0 :relid %s ', n.object), 'g')) AS times
              FROM needed n WHERE n.class = 'pg_class'::regclass) o
        GROUP BY o.object
    )
    SELECT n.object, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'relation' END,
           CASE WHEN n.tree ~ ':varattno 0 ' THEN '*' ELSE a.attname::text END,
           n.relation = read_by_view.view, n.as_caller, o.times
    FROM needed n
    JOIN named o ON o.object = n.object
    JOIN pg_class c ON c.oid = n.object AND n.class = 'pg_class'::regclass
    LEFT JOIN pg_attribute a ON a.attrelid = n.object AND a.attnum = n.attribute AND n.attribute > 0
    UNION
    -- Whoever owns a view, its functions are called by who reads it.
    SELECT n.object, 'function', NULL, n.relation = read_by_view.view, true, 1
    FROM needed n
    WHERE n.class = 'pg_proc'::regclass;
END;
COMMENT ON FUNCTION crmsync.read_by_view(oid) IS 'relations with columns, and functions, that a view needs; direct: not only through another view; as_caller: with the rights of who reads the view, rather than of another view''s owner; times: how often it, and the views that it reads, name the relation';

CREATE FUNCTION crmsync.expression_type(source text, crm text) RETURNS oid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    found oid;
BEGIN
    BEGIN
        PERFORM crmsync.compile(format(E'SELECT %s\n AS value FROM %s r', crm, source));
        found := crmsync.column_type('pg_temp.crmsync_compiled'::regclass, 'value');
        RAISE EXCEPTION USING ERRCODE = 'CY000', MESSAGE = 'the view is not kept';
    EXCEPTION WHEN SQLSTATE 'CY000' THEN
        RETURN found;
    END;
END;
$$;
COMMENT ON FUNCTION crmsync.expression_type(text, text) IS 'type of an expression over the row r of this source';

CREATE FUNCTION crmsync.check_query(what text, query text)
RETURNS TABLE (object oid, class text, column_name text, direct boolean, as_caller boolean, times integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said text;
    suggestion text;
BEGIN
    RETURN QUERY SELECT d.* FROM crmsync.read_by(query) d;
EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported OR data_exception THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, suggestion = PG_EXCEPTION_HINT;
    RAISE EXCEPTION '% cannot be used: %', what, said
        USING ERRCODE = sqlstate,
              HINT = coalesce(CASE WHEN sqlstate IN ('42P01', '42883', '42704')
                                   THEN 'Qualify names with their schema: only pg_catalog is searched.' END,
                              nullif(suggestion, ''), 'Try it in a SELECT of your own.');
END;
$$;
COMMENT ON FUNCTION crmsync.check_query(text, text) IS 'what read_by says, with errors that name what the query is for';

CREATE FUNCTION crmsync.check_crm_expression(source text, crm text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM crmsync.check_expression(crm);
    -- In WHERE, since aggregates, window functions and sets would change how many rows there are.
    PERFORM crmsync.check_query(format('the expression %s', crm),
                                format(E'SELECT 1 AS one FROM %s r WHERE jsonb_build_array(%s\n) IS NOT NULL', source, crm));
END;
$$;
COMMENT ON FUNCTION crmsync.check_crm_expression(text, text) IS 'refuses what is not an expression over the row r of this source';
