-- How what a link reads is defined. A view that is replaced, and a column whose type is altered with USING, give rows
-- other values, and no trigger fires: a comparison finds which.

CREATE FUNCTION crmsync.relations_read(link integer) RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE below (relation) AS (
        SELECT n.relation::oid
        FROM crmsync.link l
        CROSS JOIN LATERAL (
            VALUES (to_regclass(l.source)), (to_regclass(l.audience)), (to_regclass(l.mailboxes))
            UNION ALL
            SELECT crmsync.child_relation(c.child) FROM crmsync.children(l.id) c) AS n (relation)
        WHERE l.id = relations_read.link AND n.relation IS NOT NULL
        UNION
        SELECT d.refobjid
        FROM below b
        JOIN pg_rewrite w ON w.ev_class = b.relation AND w.rulename = '_RETURN'
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
    )
    SELECT b.relation FROM below b
    UNION
    -- Also what expressions read, part by part: whatever is emptied, or written anew, looks empty to a snapshot of before.
    SELECT p.relation
    FROM crmsync.capture_link cl JOIN crmsync.capture c ON c.id = cl.capture
    CROSS JOIN LATERAL (SELECT crmsync.partitions(to_regclass(c.relation))
                        UNION SELECT crmsync.with_children(to_regclass(c.relation))) AS p (relation)
    WHERE cl.link = relations_read.link AND p.relation IS NOT NULL;
END;
COMMENT ON FUNCTION crmsync.relations_read(integer) IS 'relations that a link names, with what is below them where they are views, and those that it has triggers on, with their parts';

-- By the versions of the catalog's rows. Relevant columns are those that the triggers know; whether the table has been
-- written anew says nothing, since VACUUM FULL does that, too.
CREATE FUNCTION crmsync.definition(link integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT md5(string_agg(v.version, ',' ORDER BY v.version))
    FROM (SELECT format('%s %s', w.oid, w.xmin)
          FROM crmsync.relations_read(definition.link) r
          JOIN pg_rewrite w ON w.ev_class = r AND w.rulename = '_RETURN'
          UNION
          SELECT format('%s.%s %s', a.attrelid, a.attnum, a.attname)
          FROM crmsync.relations_read(definition.link) r
          JOIN pg_class c ON c.oid = r AND c.relkind = 'v'
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
          UNION
          SELECT format('%s.%s %s', a.attrelid, a.attnum, a.xmin)
          FROM crmsync.capture_link cl JOIN crmsync.capture c ON c.id = cl.capture
          JOIN pg_attribute a ON a.attrelid = to_regclass(c.relation) AND a.attnum > 0 AND NOT a.attisdropped
          WHERE cl.link = definition.link AND (cl.columns = '{*}' OR a.attname = ANY (cl.columns))) AS v (version);
END;
COMMENT ON FUNCTION crmsync.definition(integer) IS 'hash of the definitions of the views that a link reads, and of their columns, and of its relevant columns: another one may mean other values';

-- What is as it was is not touched, nor a link that is just being removed: somebody may have it to himself for long.
CREATE FUNCTION crmsync.compare_redefined() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH redefined AS (
        SELECT l.id AS link, d.definition
        FROM crmsync.link l CROSS JOIN LATERAL (SELECT crmsync.definition(l.id)) AS d (definition)
        LEFT JOIN crmsync.link_state s ON s.link = l.id
        WHERE l.enabled AND NOT crmsync.is_import(l) AND s.definition IS DISTINCT FROM d.definition
          AND l.id IN (SELECT h.id FROM crmsync.link h FOR KEY SHARE SKIP LOCKED)
    ), due AS (
        INSERT INTO crmsync.link_state AS s (link, comparison, definition)
        SELECT r.link, 'everything', r.definition FROM redefined r ORDER BY r.link
        ON CONFLICT ON CONSTRAINT link_state_pkey DO UPDATE
        SET comparison = excluded.comparison, comparison_asked = s.comparison_asked + 1, definition = excluded.definition
        RETURNING s.link)
    SELECT count(*) > 0 FROM due;
END;
COMMENT ON FUNCTION crmsync.compare_redefined() IS 'a comparison becomes due of links that read something that is defined in another way than when this was last called, and whether there are any; by the worker';
