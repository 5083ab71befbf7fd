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

CREATE FUNCTION crmsync.membership_relation(this crmsync.link) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    option jsonb := this.options -> 'memberships';
    relation regclass;
    stray text := (SELECT min(k) FROM jsonb_object_keys(option) k WHERE k NOT IN ('table', 'user', 'group', 'fixed'));
BEGIN
    IF stray IS NOT NULL OR NOT option ?& '{table,user,group}' OR jsonb_typeof(option -> 'fixed') <> 'object' THEN
        RAISE EXCEPTION 'invalid option memberships'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '{"table": relation, "user": column, "group": column, "fixed": {column: value}}; fixed may be left out.';
    END IF;
    relation := crmsync.find_relation('relation of memberships', option ->> 'table');
    PERFORM crmsync.check_column(relation, c)
    FROM (SELECT option ->> 'user' UNION ALL SELECT option ->> 'group'
          UNION ALL SELECT jsonb_object_keys(coalesce(option -> 'fixed', '{}'))) AS x (c);
    RETURN relation;
END;
$$;
COMMENT ON FUNCTION crmsync.membership_relation(crmsync.link) IS 'the relation that memberships are kept in; refuses an option memberships that does not fit';

CREATE FUNCTION crmsync.check_import(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner regrole := to_regrole(this.owner);
    needed record;
    stray text;
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'the owner of link "%", role %, does not exist', this.name, this.owner
            USING ERRCODE = 'undefined_object', HINT = 'Name another with crmsync.alter_link(..., owner => ...).';
    END IF;
    PERFORM crmsync.check_directory_mapping(this, m.crm, m.property, m.value_map, m.fallback, m.inbound)
    FROM crmsync.mapping_in_force(this.id) m;
    stray := (SELECT min(p) FROM unnest(this.match_on) p
              WHERE lower(p) NOT IN (SELECT lower(m.property) FROM crmsync.mapping_in_force(this.id) m
                                     WHERE m.property <> '@none'));
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'match_on names %, which is not mapped', stray
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It names properties: attributes of the directory, as crmsync.map maps them to columns.';
    END IF;
    FOR needed IN
        SELECT r.relation, p.privilege
        FROM (SELECT to_regclass(this.source), '{SELECT,INSERT,UPDATE}'::text[]
              UNION ALL
              SELECT crmsync.membership_relation(this), '{SELECT,INSERT,DELETE}' WHERE this.options ? 'memberships')
             AS r (relation, privileges), unnest(r.privileges) AS p (privilege)
    LOOP
        IF NOT has_schema_privilege(owner, (SELECT c.relnamespace FROM pg_class c WHERE c.oid = needed.relation), 'USAGE')
           OR NOT (has_table_privilege(owner, needed.relation, needed.privilege)
                   OR needed.privilege <> 'DELETE' AND has_any_column_privilege(owner, needed.relation, needed.privilege)) THEN
            RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege % on table %',
                            owner, this.name, needed.privilege, crmsync.relation_name(needed.relation)
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('GRANT %s ON %s TO %s;', needed.privilege, crmsync.relation_name(needed.relation), owner);
        ELSIF NOT crmsync.reads_unfiltered(owner, needed.relation) THEN
            RAISE EXCEPTION 'row security hides rows of % from role %', crmsync.relation_name(needed.relation), owner
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('ALTER ROLE %s BYPASSRLS, or name another owner.', owner);
        END IF;
    END LOOP;
    -- The import makes functions of them, for its own session.
    IF NOT has_database_privilege(owner, current_database(), 'TEMPORARY')
       AND EXISTS (SELECT FROM crmsync.mapping_in_force(this.id) m WHERE m.inbound IS NOT NULL AND m.property <> '@none') THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege TEMPORARY on database %', owner, this.name, current_database()
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Expressions of the parameter inbound need it.',
                  HINT = format('GRANT TEMPORARY ON DATABASE %I TO %s;', current_database(), owner);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_import(crmsync.link) IS 'refuses an import whose owner may not write, or whose columns or expressions cannot be used';

CREATE FUNCTION crmsync.check_match_on(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stray text := (SELECT min(p) FROM unnest(this.match_on) p
                   WHERE p NOT IN (SELECT m.property FROM crmsync.mapping_in_force(this.id) m));
BEGIN
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'match_on names %, which is not mapped', stray
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It names properties, as crmsync.map maps them and crmsync.enable_link takes them in.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_match_on(crmsync.link) IS 'refuses a link to Exchange whose match_on is not mapped';

-- Its function writes what it likes; what it is not told must not be asked for.
CREATE FUNCTION crmsync.check_apply_inbound(this crmsync.link, owner regrole) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    function regprocedure := crmsync.apply_function(this.apply);
    stray text := (SELECT min(m.property) FROM crmsync.mapping_in_force(this.id) m
                   WHERE m.inbound IS NOT NULL OR m.property IN ('@mailbox', '@none'));
BEGIN
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'the mapping of % says what is written, and link "%" has apply', stray, this.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'With apply, its function makes the values: inbound, @mailbox and @none do nothing.';
    ELSIF NOT has_schema_privilege(owner, (SELECT p.pronamespace FROM pg_proc p WHERE p.oid = function), 'USAGE')
          OR NOT has_function_privilege(owner, function, 'EXECUTE') THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege EXECUTE on function %', owner, this.name, function
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT EXECUTE ON FUNCTION %s TO %s; with USAGE on its schema.', function, owner);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_apply_inbound(crmsync.link, regrole) IS 'refuses a link whose owner may not call its apply function, and mappings that the function takes the place of';

-- What users make and change is written as the owner: by apply, or into columns of the row and its child rows.
CREATE FUNCTION crmsync.check_inbound_link(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner regrole := to_regrole(this.owner);
    source regclass := to_regclass(this.source);
    wrong record;
BEGIN
    -- The link may have had another direction, or apply, when it was mapped.
    SELECT m.property, m.child ->> 'relation' AS child, crmsync.not_writable(this, m) AS what INTO wrong FROM crmsync.mapping_in_force(this.id) m
    WHERE (this.direction = 'inbound' OR m.direction IN ('inbound', 'both')) AND crmsync.not_writable(this, m) IS NOT NULL ORDER BY 1, 2 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'property % cannot come in: % cannot be written to', wrong.property, wrong.what
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE WHEN wrong.child IS NULL THEN format('Call crmsync.unmap(%L, %L), or let the link have apply.', this.name, wrong.property)
                              ELSE format('Call crmsync.unmap_child(%L, %L), or let the link have apply.', this.name, wrong.child) END;
    END IF;
    SELECT m.property, m.crm INTO wrong FROM crmsync.mapping_in_force(this.id) m
    WHERE this.direction = 'inbound' AND m.direction <> 'inbound' ORDER BY 1, 2 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'link "%" is inbound, and the mapping of % to % is not', this.name, wrong.crm, wrong.property
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Call crmsync.unmap(%L, %L).', this.name, wrong.property);
    END IF;
    SELECT m.fallback INTO wrong FROM crmsync.mapping_in_force(this.id) m
    WHERE crmsync.fallback_property(m.fallback) NOT IN (SELECT o.property FROM crmsync.mapping_in_force(this.id) o) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the fallback % is not mapped', wrong.fallback
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Map the property, too.';
    END IF;
    IF NOT has_column_privilege(owner, source, this.options ->> 'modified_column', 'SELECT') THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege SELECT on column % of %', owner, this.name,
                        quote_ident(this.options ->> 'modified_column'), this.source
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT SELECT (%I) ON TABLE %s TO %s;', this.options ->> 'modified_column', this.source, owner);
    END IF;
    IF this.apply IS NOT NULL THEN
        PERFORM crmsync.check_apply_inbound(this, owner);
        RETURN;
    END IF;
    PERFORM crmsync.check_children_inbound(this, owner);
    SELECT m.crm, string_agg(m.property, ', ' ORDER BY m.property) AS properties INTO wrong FROM crmsync.mapping_in_force(this.id) m
    WHERE m.child IS NULL AND crmsync.mapping_direction(this, m) <> 'outbound'
      AND m.property NOT IN (SELECT p.name FROM crmsync.property_list() p WHERE this.object = ANY (p.objects) AND p.access = 'outbound')
    GROUP BY m.crm HAVING count(*) > 1 ORDER BY m.crm LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column % of % would get the values of more than one property: %', quote_ident(wrong.crm), this.source, wrong.properties
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE this.direction WHEN 'both' THEN 'Map it with direction => ''outbound'' to all of them but one.'
                                             ELSE 'Call crmsync.unmap for all of them but one.' END;
    END IF;
    SELECT p.privilege, m.crm INTO wrong
    FROM crmsync.mapping_in_force(this.id) m,
         LATERAL (SELECT 'INSERT' AS privilege UNION ALL SELECT 'UPDATE' WHERE m.property NOT IN ('@mailbox', '@none')) p
    WHERE m.link = this.id AND m.child IS NULL AND crmsync.mapping_direction(this, m) <> 'outbound'
      AND NOT has_column_privilege(owner, source, m.crm, p.privilege)
    ORDER BY p.privilege, m.crm LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege % on column % of %', owner, this.name,
                        wrong.privilege, quote_ident(wrong.crm), this.source
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('GRANT %s (%I) ON TABLE %s TO %s;', wrong.privilege, wrong.crm, this.source, owner);
    END IF;
    IF this.on_target_delete = 'delete' AND NOT has_table_privilege(owner, source, 'DELETE') THEN
        RAISE EXCEPTION 'role %, the owner of link "%", lacks the privilege DELETE on %', owner, this.name, this.source
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'on_target_delete is delete: what a user deletes is deleted in the CRM.',
                  HINT = format('GRANT DELETE ON TABLE %s TO %s;', this.source, owner);
    END IF;
    SELECT e.event INTO wrong FROM pg_class c, (VALUES (4, 'INSERT', 8), (16, 'UPDATE', 4), (8, 'DELETE', 16)) AS e (bit, event, updatable)
    WHERE c.oid = source AND c.relkind = 'v' AND (e.event <> 'DELETE' OR this.on_target_delete = 'delete')
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype & 64 <> 0 AND t.tgtype & e.bit <> 0)
      AND pg_relation_is_updatable(c.oid, true) & e.updatable = 0;
    IF FOUND THEN
        RAISE EXCEPTION 'view % cannot be written: it has no INSTEAD OF % trigger', this.source, wrong.event
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Create one, or give the link a function that writes: apply.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_inbound_link(crmsync.link) IS 'refuses a link that reads mailboxes whose owner may not write, or whose fallbacks are not mapped';

-- Of an enabled link it is the mapping in force that must do.
CREATE FUNCTION crmsync.check_incoming(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF crmsync.is_import(this) THEN
        PERFORM crmsync.check_import(this);
        RETURN;
    END IF;
    PERFORM crmsync.check_match_on(this);
    PERFORM crmsync.check_inbound_link(this) WHERE this.direction <> 'outbound';
END;
$$;
COMMENT ON FUNCTION crmsync.check_incoming(crmsync.link) IS 'refuses a link whose mapping, or whose owner''s rights, do not do for what it takes from its target';

CREATE FUNCTION crmsync.notice_incoming(this crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF this.direction <> 'outbound' AND NOT crmsync.is_import(this) THEN
        RAISE NOTICE 'link "%" makes rows of % of what users have in their mailboxes, and of what they make', this.name, this.source
            USING HINT = 'Private items stay out (option inbound_private); match_on recognises what the CRM has already.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.notice_incoming(crmsync.link) IS 'says of a link that reads mailboxes what it does with them';

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
    FOR unseen IN
        SELECT DISTINCT crmsync.relation_name(r.object) AS what
        FROM unnest(reads) r
        WHERE r.purpose = 'values' AND r.object = to_regclass(this.source) AND r.direct AND r.times > 1
          AND NOT EXISTS (SELECT FROM crmsync.watched w WHERE w.link = this.id AND w.relation = this.source)
    LOOP
        RAISE WARNING 'an expression of link "%" also reads other rows of its source %', this.name, unseen.what
            USING HINT = 'Use crmsync.watch on the source with a lookup that finds the records that show such a row.';
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
    UPDATE crmsync.link_state s SET broken = NULL, attempts = 0, next_attempt = NULL WHERE s.link = compare_everything.link;
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
