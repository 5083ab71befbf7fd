-- Whether a link can bring in what it takes from its target: its mapping, and the rights of its owner.

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
