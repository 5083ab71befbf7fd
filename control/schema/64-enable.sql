-- Enabling a link: everything is checked as a whole, then the triggers are armed.

CREATE FUNCTION crmsync.reads_unfiltered(role regrole, relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT NOT c.relrowsecurity OR r.rolsuper OR r.rolbypassrls
        OR (pg_has_role(r.oid, c.relowner, 'USAGE') AND NOT c.relforcerowsecurity)
    FROM pg_class c, pg_roles r WHERE c.oid = relation AND r.oid = role;
END;
COMMENT ON FUNCTION crmsync.reads_unfiltered(regrole, oid) IS 'whether no row security policy hides rows of the relation from the role';

CREATE FUNCTION crmsync.check_rights(this crmsync.link, reads crmsync.reading[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner regrole := to_regrole(this.owner);
    missing record;
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'the owner of link "%", role %, does not exist', this.name, this.owner
            USING ERRCODE = 'undefined_object', HINT = 'Name another with crmsync.alter_link(..., owner => ...).';
    END IF;
    SELECT * INTO missing FROM (
        SELECT DISTINCT 'SELECT' AS privilege, c.relnamespace, 'TABLE ' || crmsync.relation_name(c.oid) AS object,
               c.oid AS relation, r.column_name
        FROM unnest(reads) r JOIN pg_class c ON c.oid = r.object
        WHERE r.as_caller AND r.class IN ('relation', 'view')
          AND NOT CASE WHEN r.column_name IS NULL THEN has_table_privilege(owner, c.oid, 'SELECT') OR has_any_column_privilege(owner, c.oid, 'SELECT')
                       WHEN r.column_name = '*' THEN has_table_privilege(owner, c.oid, 'SELECT')
                       ELSE has_column_privilege(owner, c.oid, r.column_name, 'SELECT') END
        UNION ALL
        -- What is watched is seen, too: lookups get its values.
        SELECT DISTINCT 'SELECT', c.relnamespace, 'TABLE ' || crmsync.relation_name(c.oid), c.oid, w.name
        FROM (SELECT to_regclass(w.relation)::oid AS relation, unnest(w.columns || w.column_name) AS name
              FROM crmsync.watched w WHERE w.link = this.id) w
        JOIN pg_class c ON c.oid = w.relation
        WHERE NOT has_column_privilege(owner, c.oid, w.name, 'SELECT')
        UNION ALL
        SELECT DISTINCT 'EXECUTE', p.pronamespace, 'FUNCTION ' || p.oid::regprocedure::text, NULL::oid, NULL
        FROM unnest(reads) r JOIN pg_proc p ON p.oid = r.object
        WHERE r.as_caller AND r.class = 'function' AND NOT has_function_privilege(owner, p.oid, 'EXECUTE')
        UNION ALL
        SELECT DISTINCT 'USAGE', n.oid, format('SCHEMA %I', n.nspname), NULL::oid, NULL
        FROM unnest(reads) r
        LEFT JOIN pg_class c ON c.oid = r.object AND r.class <> 'function'
        LEFT JOIN pg_proc p ON p.oid = r.object AND r.class = 'function'
        JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, p.pronamespace)
        WHERE r.direct AND NOT has_schema_privilege(owner, n.oid, 'USAGE')
    ) x ORDER BY object LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege % on %', owner, this.name, missing.privilege,
                        lower(split_part(missing.object, ' ', 1)) || ' ' || substr(missing.object, strpos(missing.object, ' ') + 1)
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT %s ON %s TO %s;', missing.privilege, missing.object, owner);
    END IF;
    SELECT crmsync.relation_name(r.object) AS relation INTO missing
    FROM unnest(reads) r
    WHERE r.class = 'relation' AND NOT crmsync.reads_unfiltered(owner, r.object) AND r.as_caller
    ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'row security hides rows of % from role %', missing.relation, owner
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Rows that the link cannot see would look deleted.',
                  HINT = format('ALTER ROLE %s BYPASSRLS, or name another owner.', owner);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_rights(crmsync.link, crmsync.reading[]) IS 'refuses a link whose owner may not read, whole, what its queries read';

CREATE FUNCTION crmsync.check_mapped(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM crmsync.mapping m WHERE m.link = this.id) THEN
        RAISE EXCEPTION 'link "%" maps nothing', this.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Call crmsync.map, or crmsync.map_preset, first.';
    END IF;
    PERFORM crmsync.check_crm_side(this, m.crm) FROM crmsync.mapping m WHERE m.link = this.id AND m.child IS NULL;
    PERFORM crmsync.check_child(this, c.child, c.columns) FROM crmsync.children(this.id) c;
    PERFORM crmsync.check_watched(this, crmsync.find_relation('watched relation', w.relation), w.column_name, w.lookup, w.columns)
    FROM crmsync.watched w WHERE w.link = this.id;
END;
$$;
COMMENT ON FUNCTION crmsync.check_mapped(crmsync.link) IS 'refuses a link that maps nothing, or what is no longer there';

-- What capture cannot see is said, not hidden.
CREATE FUNCTION crmsync.warn_unseen(this crmsync.link, reads crmsync.reading[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unseen record;
BEGIN
    FOR unseen IN
            SELECT DISTINCT format('function %s', p.oid::regprocedure) AS what, 'what it reads' AS whose
        FROM unnest(reads) r JOIN pg_proc p ON p.oid = r.object
        JOIN pg_language l ON l.oid = p.prolang
        WHERE r.class = 'function' AND p.provolatile <> 'i' AND l.lanname NOT IN ('internal', 'c')
        UNION ALL
        SELECT DISTINCT crmsync.relation_name(c.oid), 'its changes'
        FROM unnest(reads) r JOIN pg_class c ON c.oid = r.object
        WHERE r.class = 'relation' AND (c.relkind NOT IN ('r', 'p') OR c.relnamespace = 'pg_catalog'::regnamespace)
        UNION ALL
        SELECT DISTINCT crmsync.relation_name(c.oid), 'what is changed elsewhere'
        FROM unnest(reads) r CROSS JOIN crmsync.partitions(r.object) p (part)
        JOIN pg_inherits i ON i.inhparent = p.part JOIN pg_class c ON c.oid = i.inhrelid
        WHERE r.class = 'relation' AND c.relkind = 'f'
        ORDER BY 1
    LOOP
        RAISE WARNING 'link "%" uses %, and crmsync cannot see %', this.name, unseen.what, unseen.whose
            USING HINT = 'Use crmsync.watch on tables that it depends on; everything is compared from time to time (option compare_interval).';
    END LOOP;
    -- A row of the source, or of a child table, leads to its own record: the queries of the link name it so often.
    FOR unseen IN
        SELECT DISTINCT crmsync.relation_name(k.relation) AS what, CASE r.purpose WHEN 'values' THEN 'an expression' ELSE 'the audience' END AS whose,
               k.what AS which
        FROM (SELECT to_regclass(this.source) AS relation, 'other rows of its source' AS what, 1 AS by_values, 1 AS by_audience
              UNION ALL
              SELECT crmsync.child_relation(c.child), 'rows of other records in its child table', count(*), 0 FROM crmsync.children(this.id) c GROUP BY 1) k
        JOIN unnest(reads) r ON r.object = k.relation
         AND (r.purpose = 'values' AND r.times > k.by_values OR r.purpose = 'audience' AND r.times > k.by_audience)
        WHERE NOT EXISTS (SELECT FROM crmsync.watched w WHERE w.link = this.id AND to_regclass(w.relation) = k.relation)
        ORDER BY 1, 2
    LOOP
        RAISE WARNING '% of link "%" may also read % %', unseen.whose, this.name, unseen.which, unseen.what
            USING DETAIL = 'A change of a row is only seen as one of its own record.',
                  HINT = format('Use crmsync.watch on %s: with a lookup that finds the records that a row concerns, or without one, where there is no other.', unseen.what);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.warn_unseen(crmsync.link, crmsync.reading[]) IS 'warns of what a link reads and no trigger sees';

CREATE FUNCTION crmsync.warn_unlogged(this crmsync.link, reads crmsync.reading[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unlogged text;
BEGIN
    FOR unlogged IN
        SELECT DISTINCT crmsync.relation_name(c.oid)
        FROM unnest(reads) r JOIN pg_class c ON c.oid = r.object
        WHERE r.class = 'relation' AND c.relkind = 'r' AND c.relpersistence = 'u'
        ORDER BY 1
    LOOP
        RAISE WARNING 'link "%" uses the unlogged table %', this.name, unlogged
            USING DETAIL = 'A crash of the server empties it; its rows would look deleted then.',
                  HINT = format('ALTER TABLE %s SET LOGGED;', unlogged);
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.warn_unlogged(crmsync.link, crmsync.reading[]) IS 'warns of tables that a link reads and a crash of the server empties';

CREATE FUNCTION crmsync.establish_identity() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.identity (system_identifier, database, environment, instance)
    SELECT i.system_identifier, i.database, i.environment, gen_random_uuid()
    FROM crmsync.current_identity() i
    WHERE NOT EXISTS (SELECT FROM crmsync.identity);
END;
COMMENT ON FUNCTION crmsync.establish_identity() IS 'the first identity is confirmed by enabling the first link';

-- What a trigger may have missed does not concern an import: it would write over what the CRM has changed.
CREATE FUNCTION crmsync.request_comparison(link integer, comparison text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.link_state AS s (link, comparison)
    SELECT l.id, request_comparison.comparison FROM crmsync.link l WHERE l.id = request_comparison.link AND NOT crmsync.is_import(l)
    ON CONFLICT ON CONSTRAINT link_state_pkey DO UPDATE
    SET comparison = crmsync.largest_comparison(ARRAY[s.comparison, excluded.comparison]),
        comparison_asked = s.comparison_asked + 1;
END;
COMMENT ON FUNCTION crmsync.request_comparison(integer, text) IS 'a comparison becomes due: of mailboxes that take part anew, of the audience, or of everything; of an import never';

CREATE FUNCTION crmsync.compare_everything(link integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.request_comparison(compare_everything.link, 'everything');
    UPDATE crmsync.link_state s SET broken = NULL, attempts = 0, next_attempt = NULL, comparison_attempts = 0, comparison_next_attempt = NULL
    WHERE s.link = compare_everything.link;
END;
COMMENT ON FUNCTION crmsync.compare_everything(integer) IS 'the worker compares all records of the link with the shadows, as soon as it can';

CREATE FUNCTION crmsync.import_anew(link integer, overwrites boolean) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO crmsync.link_state AS s (link, comparison) VALUES (import_anew.link, CASE WHEN overwrites THEN 'everything' END)
    ON CONFLICT ON CONSTRAINT link_state_pkey DO UPDATE
    SET comparison = coalesce(excluded.comparison, s.comparison), comparison_asked = s.comparison_asked + overwrites::integer,
        last_started = NULL, broken = NULL, attempts = 0, next_attempt = NULL;
END;
COMMENT ON FUNCTION crmsync.import_anew(integer, boolean) IS 'an import is due; it brings what is new in the directory, or by another mapping, and overwrites (resync) or leaves what the CRM has changed since';

CREATE FUNCTION crmsync.enable_link(name text)
RETURNS TABLE (relation text, column_name text, columns text[], how text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(name, 'admin');
    reads crmsync.reading[];
BEGIN
    IF NOT crmsync.preloaded() THEN
        RAISE EXCEPTION 'crmsync is not preloaded'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Add crmsync to shared_preload_libraries and restart the server.';
    END IF;
    UPDATE crmsync.link l SET enabled = false, armed_mapping = NULL, armed_groups = NULL WHERE l.id = this.id AND l.enabled;
    this := crmsync.complete_link(this);
    PERFORM crmsync.check_mapped(this);
    reads := ARRAY(SELECT r FROM crmsync.link_reads(this) r);
    PERFORM crmsync.check_rights(this, reads);
    IF NOT crmsync.is_import(this) THEN
        PERFORM crmsync.warn_unseen(this, reads);
        PERFORM crmsync.warn_unlogged(this, reads);
        PERFORM crmsync.warn_unindexed(this);
    END IF;
    PERFORM crmsync.check_incoming(this);
    PERFORM crmsync.notice_incoming(this);
    IF NOT crmsync.is_import(this) THEN
        RETURN QUERY SELECT a.* FROM crmsync.arm_link(this, reads) a;
    END IF;
    UPDATE crmsync.link l
    SET enabled = true,
        armed_mapping = (SELECT jsonb_agg(to_jsonb(m) ORDER BY m.property, m.crm) FROM crmsync.mapping m WHERE m.link = this.id),
        armed_groups = (SELECT coalesce(jsonb_agg(to_jsonb(g) ORDER BY g.ldap_group, g.crm_group), '[]') FROM crmsync.group_mapping g WHERE g.link = this.id)
    WHERE l.id = this.id;
    PERFORM crmsync.establish_identity();
    INSERT INTO crmsync.request (action, link) VALUES ('compare', this.id);
    PERFORM crmsync.request_sync(this.id);
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.enable_link(text) IS 'checks a link as a whole, puts up the triggers that it needs, lets the worker compare and serve it; returns the watched relations with their relevant columns; again: takes changes of the mapping in';

CREATE FUNCTION crmsync.disable_link(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(name, 'admin');
BEGIN
    UPDATE crmsync.link l SET enabled = false, armed_mapping = NULL, armed_groups = NULL WHERE l.id = this.id AND l.enabled;
    PERFORM crmsync.disarm_link(this.id);
    INSERT INTO crmsync.request (action, link) VALUES ('clear', this.id);
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.disable_link(text) IS 'stops a link and removes its triggers; items stay, and enable_link goes on with a comparison';
