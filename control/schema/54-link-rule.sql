-- What a link may say: which relations, kept in step with what, by which policies.

CREATE FUNCTION crmsync.find_relation(what text, name text) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation regclass := to_regclass(name);
BEGIN
    IF relation IS NULL AND name IS NOT NULL THEN
        RAISE EXCEPTION 'the % % does not exist', what, name
            USING ERRCODE = 'undefined_table',
                  HINT = CASE WHEN name LIKE '%.%' THEN 'It was dropped or renamed; use crmsync.alter_link, crmsync.unwatch or crmsync.unmap_child, and name another.'
                              ELSE format('Name it with its schema, as in public.%s.', name) END;
    END IF;
    RETURN relation;
END;
$$;
COMMENT ON FUNCTION crmsync.find_relation(text, text) IS 'the relation that the configuration names, which must exist';

CREATE FUNCTION crmsync.check_object(kind text, object text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM crmsync.policy p WHERE p.kind = check_object.kind AND p.object = check_object.object) THEN
        RETURN;
    ELSIF object = ANY (CASE kind WHEN 'ldap' THEN '{group,contact}' ELSE '{event,task}' END::text[]) THEN
        PERFORM crmsync.not_supported(format('the object "%s" for targets of kind %s', object, kind));
    END IF;
    RAISE EXCEPTION 'unknown object % for a target of kind %', coalesce(quote_literal(object), 'NULL'), kind
        USING ERRCODE = 'invalid_parameter_value',
              HINT = (SELECT 'Allowed: ' || string_agg(DISTINCT p.object, ', ') || '.'
                      FROM crmsync.policy p WHERE p.kind = check_object.kind);
END;
$$;
COMMENT ON FUNCTION crmsync.check_object(text, text) IS 'refuses objects that this kind of target has not';

CREATE FUNCTION crmsync.check_address(relation oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type oid := crmsync.check_column(relation, 'mailbox');
BEGIN
    IF NOT crmsync.is_text_type(type) THEN
        RAISE EXCEPTION 'column "mailbox" of % has type %', crmsync.relation_name(relation), format_type(type, NULL)
            USING ERRCODE = 'datatype_mismatch', HINT = 'It must hold SMTP addresses as text.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_address(oid) IS 'refuses a relation without a column mailbox of text';

CREATE FUNCTION crmsync.check_audience(audience oid, source oid, key text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type oid := crmsync.check_column(audience, 'record');
    key_type oid := crmsync.check_column(source, key);
BEGIN
    PERFORM crmsync.check_address(audience);
    IF NOT crmsync.holds_keys(type, key_type) THEN
        RAISE EXCEPTION 'column "record" of audience % has type %, but the key of % has type %',
                        crmsync.relation_name(audience), format_type(type, NULL),
                        crmsync.relation_name(source), format_type(key_type, NULL)
            USING ERRCODE = 'datatype_mismatch',
                  HINT = format('"record" must hold keys: use a column of type %s, or a view that casts %s to it.',
                                crmsync.type_name(key_type), crmsync.type_name(type));
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_audience(oid, oid, text) IS 'refuses an audience whose columns record and mailbox cannot hold keys of the source and addresses';

CREATE FUNCTION crmsync.check_mailboxes(mailboxes oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    PERFORM crmsync.check_address(mailboxes);
    SELECT c.name, c.must, format_type(crmsync.column_type(mailboxes, c.name), NULL) AS type INTO wrong
    FROM (VALUES ('enabled', 'be boolean: whether the mailbox takes part'),
                 ('automatic', 'be boolean: false: only when somebody asks for it'),
                 ('target', 'hold the name of the target that the mailbox is at, as text'),
                 ('time_zone', 'hold the name of a time zone, as text'),
                 ('id', 'hold what identifies a user, as text, uuid or integer')) AS c (name, must),
         LATERAL (SELECT crmsync.column_type(mailboxes, c.name) AS type) t
    WHERE NOT CASE WHEN c.name IN ('enabled', 'automatic') THEN crmsync.base_type(t.type) = 'boolean'::regtype
                   WHEN c.name = 'id' THEN crmsync.is_key_type(t.type)
                   ELSE crmsync.is_text_type(t.type) END
    ORDER BY c.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'column "%" of % has type %', wrong.name, crmsync.relation_name(mailboxes), wrong.type
            USING ERRCODE = 'datatype_mismatch', HINT = format('It must %s.', wrong.must);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_mailboxes(oid) IS 'refuses a relation of mailboxes without usable columns';

CREATE FUNCTION crmsync.check_interval(what text, value interval, preset text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF preset = 'orocrm' AND (value < interval '1 second' OR value > interval '86399 seconds') THEN
        RAISE EXCEPTION '% must be between 1 and 86399 seconds with the preset orocrm', what
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF value < interval '1 second' OR value > interval '7 days' THEN
        RAISE EXCEPTION '% must be between 1 second and 7 days', what
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_interval(text, interval, text) IS 'refuses intervals out of range';

CREATE FUNCTION crmsync.may_be_forgotten(item crmsync.item, this crmsync.link) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN item.state = 'unlinked' AND NOT item.stamped AND this.direction = 'outbound';
COMMENT ON FUNCTION crmsync.may_be_forgotten(crmsync.item, crmsync.link) IS 'whether an item is its user''s own, without our stamp, and would not come in as a new one if nothing were known of it';

CREATE FUNCTION crmsync.forget_contents(link integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mailboxes integer[] := ARRAY(SELECT m.id FROM crmsync.mailbox m WHERE m.link = forget_contents.link);
BEGIN
    DELETE FROM crmsync.item i WHERE i.link = forget_contents.link;
    DELETE FROM crmsync.arrival a WHERE a.mailbox = ANY (mailboxes);
    DELETE FROM crmsync.listed l WHERE l.mailbox = ANY (mailboxes);
    DELETE FROM crmsync.sighting s WHERE s.mailbox = ANY (mailboxes);
    DELETE FROM crmsync.repair p WHERE p.mailbox = ANY (mailboxes);
    DELETE FROM crmsync.conflict c WHERE c.link = forget_contents.link;
    DELETE FROM crmsync.failure f WHERE f.link = forget_contents.link;
    UPDATE crmsync.mailbox m SET folder_id = NULL, deleted_folder = NULL, sync_state = NULL, listing = NULL, met = NULL WHERE m.id = ANY (mailboxes);
END;
$$;
COMMENT ON FUNCTION crmsync.forget_contents(integer) IS 'forgets what a link knows of its mailboxes'' contents, since other records, or another folder, are meant from now on';

CREATE FUNCTION crmsync.reads_mailboxes(this crmsync.link) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN this.direction <> 'outbound' OR this.on_target_delete = 'recreate' OR this.match_on <> '{}';
COMMENT ON FUNCTION crmsync.reads_mailboxes(crmsync.link) IS 'whether a link to Exchange asks its mailboxes what has changed in them: to bring it in, or only to know what is no longer there, and what their users have already';

CREATE FUNCTION crmsync.function_name(function regproc) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('%I.%I', n.nspname, p.proname)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = function;
END;
COMMENT ON FUNCTION crmsync.function_name(regproc) IS 'qualified and quoted name, as the configuration stores it';

CREATE FUNCTION crmsync.apply_function(name text) RETURNS regprocedure
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN to_regprocedure(name || '(text, text, text, text, jsonb, jsonb, text[])');
COMMENT ON FUNCTION crmsync.apply_function(text) IS 'the function of this name that can be a link''s apply; NULL: there is none';

CREATE FUNCTION crmsync.check_apply(this crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF this.direction = 'outbound' THEN
        RAISE EXCEPTION 'apply is used inbound, and link "%" is % only', this.name, this.direction
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = crmsync.apply_function(this.apply)
                      AND p.prokind = 'f' AND NOT p.proretset AND p.prorettype = 'text'::regtype) THEN
        RAISE EXCEPTION '% cannot be apply: there is no such function with the arguments it needs that returns text', this.apply
            USING ERRCODE = 'undefined_function',
                  HINT = 'It is declared (link text, action text, record text, mailbox text, old jsonb, new jsonb, changed text[]) RETURNS text.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_apply(crmsync.link) IS 'refuses what cannot write a link''s inbound changes';

CREATE FUNCTION crmsync.check_categories(categories jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF categories = '{}' OR EXISTS (
           SELECT FROM jsonb_each(categories) e
           WHERE e.key NOT IN ('only', 'none') OR jsonb_typeof(e.value) <> 'array' OR e.value = '[]'
              OR jsonb_path_exists(e.value, 'strict $[*] ? (@.type() != "string" || @ == "")')) THEN
        RAISE EXCEPTION 'invalid option inbound_categories'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '{"only": ["CRM"], "none": ["Private"]}: names of categories; either may be left out.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_categories(jsonb) IS 'refuses what does not say which categories come in';

-- What only one kind of target knows must not be given to another.
CREATE FUNCTION crmsync.check_parameters(kind text, this crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stray text;
BEGIN
    IF kind = 'ldap' THEN
        stray := CASE WHEN this.audience IS NOT NULL THEN 'audience'
                      WHEN this.mailboxes IS NOT NULL THEN 'mailboxes'
                      WHEN this.folder IS NOT NULL THEN 'folder'
                      WHEN this.outbound_interval IS NOT NULL THEN 'outbound_interval'
                      WHEN this.apply IS NOT NULL THEN 'apply' END;
        IF this.inbound_interval IS NOT NULL AND this.daily_at IS NOT NULL THEN
            RAISE EXCEPTION 'a link has inbound_interval or daily_at, not both'
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF NOT this.options ? 'base' THEN
            RAISE EXCEPTION 'an LDAP link needs the option base'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'For example options => ''{"base": "ou=people,dc=example,dc=com"}''.';
        END IF;
    ELSE
        stray := CASE WHEN this.inbound_interval IS NOT NULL AND NOT crmsync.reads_mailboxes(this) THEN 'inbound_interval'
                      WHEN this.daily_at IS NOT NULL THEN 'daily_at' END;
        IF this.direction = 'inbound' AND this.conflict <> 'crm_wins' THEN
            RAISE EXCEPTION 'a link of direction inbound has no conflict to decide'
                USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The CRM takes the mailbox''s values.';
        ELSIF this.direction = 'outbound' AND this.conflict <> 'crm_wins' THEN
            PERFORM crmsync.not_supported(format('conflict %s for links of direction outbound', this.conflict),
                                          'Mailboxes are read with direction both.');
        ELSIF this.direction = 'outbound' AND this.on_target_delete = 'delete' THEN
            RAISE EXCEPTION 'a link of direction outbound deletes nothing in the CRM'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'on_target_delete delete needs direction both, or inbound.';
        END IF;
        IF this.options ? 'inbound_categories' THEN
            PERFORM crmsync.check_categories(this.options -> 'inbound_categories');
        END IF;
        IF this.direction = 'outbound' AND this.options ?| '{inbound_categories,inbound_private}' THEN
            RAISE EXCEPTION 'option "%" is for links that bring in what users make',
                            (SELECT min(o) FROM jsonb_object_keys(this.options) o WHERE o IN ('inbound_categories', 'inbound_private'))
                USING ERRCODE = 'invalid_parameter_value', HINT = 'This one is outbound.';
        END IF;
        PERFORM crmsync.check_exchange_property(this, p, 'both') FROM unnest(this.match_on) p;
        IF this.options ? 'key_property' AND this.match_on = '{}' THEN
            RAISE EXCEPTION 'the option key_property needs match_on'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'What bears no key is known by these properties.';
        END IF;
        PERFORM crmsync.check_apply(this) WHERE this.apply IS NOT NULL;
        IF this.direction = 'inbound' AND this.audience IS NOT NULL THEN
            RAISE EXCEPTION 'a link of direction inbound has no audience'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'It writes to nobody; the parameter mailboxes says whose folders are read.';
        ELSIF this.direction = 'inbound' AND this.mailboxes IS NULL THEN
            RAISE EXCEPTION 'a link of direction inbound needs mailboxes'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Name a relation with the column mailbox (SMTP address): those whose folders are read.';
        ELSIF this.direction <> 'inbound' AND this.audience IS NULL THEN
            RAISE EXCEPTION 'a link to Exchange needs an audience'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Name a relation with the columns record (key of the source) and mailbox (SMTP address).';
        ELSIF this.folder !~ E'^[^/\\\\]{1,255}$' THEN
            RAISE EXCEPTION 'invalid folder name "%"', this.folder
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = E'The name of one folder below the default folder, without "/" and "\\".';
        END IF;
    END IF;
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'a link of direction % to a target of kind % has no %', this.direction, kind, stray
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_parameters(text, crmsync.link) IS 'refuses parameters that do not fit the kind of target, and missing ones';

-- Only what somebody asks for. What a link has from its preset, or from a time when it had another direction,
-- waits until it has a meaning again. Of an LDAP link these have one value each, which is what happens.
CREATE FUNCTION crmsync.check_meaning(this crmsync.link, write_fields text, on_target_delete text, on_audience_loss text, on_ambiguous text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    idle text := CASE WHEN write_fields IS NOT NULL THEN 'write_fields' WHEN on_audience_loss IS NOT NULL THEN 'on_audience_loss'
                      WHEN on_target_delete = 'recreate' THEN 'on_target_delete recreate' END;
BEGIN
    IF (SELECT t.kind FROM crmsync.target t WHERE t.name = this.target) = 'ldap' THEN
        RETURN;
    ELSIF this.direction = 'inbound' AND idle IS NOT NULL THEN
        RAISE EXCEPTION 'a link of direction inbound has no %', idle
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It writes to nobody: leave it out, or take direction both.';
    ELSIF this.match_on = '{}' AND on_ambiguous IS NOT NULL THEN
        RAISE EXCEPTION 'on_ambiguous needs match_on'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Nothing is recognised without it: leave it out, or name the properties to match on, in the same call or before.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_meaning(crmsync.link, text, text, text, text) IS 'refuses policies that are asked for and mean nothing to such a link';

-- Of a link that is not stored yet the fields are not known, and say nothing.
CREATE FUNCTION crmsync.check_modified_column(this crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := this.options ->> 'modified_column';
    type oid := CASE WHEN name IS NOT NULL THEN crmsync.check_column(crmsync.find_relation('source', this.source), name) END;
    needed_by text := CASE WHEN this.conflict = 'newest_wins' THEN 'conflict newest_wins'
                           ELSE (SELECT format('conflict newest_wins of property %s', min(m.property)) FROM crmsync.mapping m
                                 WHERE m.link = this.id AND m.options ->> 'conflict' = 'newest_wins' HAVING count(*) > 0) END;
BEGIN
    IF crmsync.base_type(type) <> 'timestamptz'::regtype THEN
        RAISE EXCEPTION 'column "%" of % has type %', name, this.source, format_type(type, NULL)
            USING ERRCODE = 'datatype_mismatch',
                  HINT = 'The option modified_column names a column of type timestamp with time zone.';
    ELSIF needed_by IS NOT NULL AND name IS NULL THEN
        RAISE EXCEPTION '% needs the option modified_column', needed_by
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The column of the source that holds when a row was last changed: {"modified_column": "changed_at"}, for one.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_modified_column(crmsync.link) IS 'refuses an option modified_column that names no time, and newest_wins without one';

CREATE FUNCTION crmsync.complete_link(this crmsync.link) RETURNS crmsync.link
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target_kind text := (SELECT t.kind FROM crmsync.target t WHERE t.name = this.target);
    policies jsonb;
BEGIN
    PERFORM crmsync.check_object(target_kind, this.object);
    PERFORM crmsync.check_preset(this.preset, this.object);
    SELECT jsonb_object_agg(p.policy, crmsync.policy_value(
               p.kind, p.object, this.preset, p.policy, to_jsonb(this) ->> p.policy,
               coalesce(this.direction, crmsync.preset_value(this.preset, this.object, 'direction', NULL), 'outbound'))) INTO policies
    FROM crmsync.policy p WHERE p.kind = target_kind AND p.object = this.object;
    this := jsonb_populate_record(this, policies);
    this.match_on := coalesce(this.match_on, crmsync.preset_value(this.preset, this.object, 'match_on', this.direction)::text[], '{}');
    this.outbound_interval := coalesce(this.outbound_interval, crmsync.preset_value(this.preset, this.object, 'outbound_interval', this.direction)::interval);
    IF crmsync.reads_mailboxes(this) THEN
        this.inbound_interval := coalesce(this.inbound_interval, crmsync.preset_value(this.preset, this.object, 'inbound_interval', this.direction)::interval);
    END IF;
    PERFORM crmsync.check_options('link', target_kind, this.options);
    PERFORM crmsync.check_parameters(target_kind, this);
    PERFORM crmsync.check_interval('inbound_interval', this.inbound_interval, this.preset);
    PERFORM crmsync.check_interval('outbound_interval', this.outbound_interval, this.preset);
    IF this.options ? 'memberships' THEN
        PERFORM crmsync.membership_relation(this);
    END IF;
    IF target_kind = 'ldap' AND this.inbound_interval IS NULL AND this.daily_at IS NULL THEN
        this.inbound_interval := interval '1 hour';
    END IF;
    this.key := crmsync.find_key(crmsync.find_relation('source', this.source), this.key);
    IF target_kind <> 'ldap' THEN
        PERFORM crmsync.check_modified_column(this);
    END IF;
    IF this.audience IS NOT NULL THEN
        PERFORM crmsync.check_audience(crmsync.find_relation('audience', this.audience),
                                       crmsync.find_relation('source', this.source), this.key);
    END IF;
    IF this.mailboxes IS NOT NULL THEN
        PERFORM crmsync.check_mailboxes(crmsync.find_relation('relation of mailboxes', this.mailboxes));
    END IF;
    RETURN this;
END;
$$;
COMMENT ON FUNCTION crmsync.complete_link(crmsync.link) IS 'the link with defaults for what is NULL; refuses what does not fit together';
