-- Links: made and altered.

CREATE FUNCTION crmsync.create_link(
    name text, target text, object text, source regclass, key text DEFAULT NULL,
    audience regclass DEFAULT NULL, mailboxes regclass DEFAULT NULL, preset text DEFAULT NULL,
    direction text DEFAULT NULL, conflict text DEFAULT NULL, write_fields text DEFAULT NULL,
    on_crm_delete text DEFAULT NULL, on_target_delete text DEFAULT NULL,
    on_audience_loss text DEFAULT NULL, on_ambiguous text DEFAULT NULL,
    match_on text[] DEFAULT NULL, folder text DEFAULT NULL,
    outbound_interval interval DEFAULT NULL, inbound_interval interval DEFAULT NULL,
    daily_at timetz DEFAULT NULL, apply regproc DEFAULT NULL, owner regrole DEFAULT NULL,
    options jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link;
BEGIN
    PERFORM crmsync.require('admin');
    PERFORM crmsync.find_target(target, 'admin');
    PERFORM crmsync.check_name('link', name);
    IF EXISTS (SELECT FROM crmsync.link l WHERE l.name = create_link.name) THEN
        PERFORM crmsync.find_link(name, 'admin');
        RAISE EXCEPTION 'link "%" already exists', name
            USING ERRCODE = 'duplicate_object', HINT = 'Use crmsync.alter_link to change it.';
    END IF;
    this.name := name;
    this.target := target;
    this.object := object;
    this.source := crmsync.check_relation('source', source, '{r,p,v}');
    this.key := key;
    this.audience := crmsync.check_relation('audience', audience, '{r,p,v}');
    this.mailboxes := crmsync.check_relation('relation of mailboxes', mailboxes, '{r,p,v}');
    this.preset := preset;
    this.direction := direction;
    this.conflict := conflict;
    this.write_fields := write_fields;
    this.on_crm_delete := on_crm_delete;
    this.on_target_delete := on_target_delete;
    this.on_audience_loss := on_audience_loss;
    this.on_ambiguous := on_ambiguous;
    this.match_on := match_on;
    this.folder := folder;
    this.outbound_interval := outbound_interval;
    this.inbound_interval := inbound_interval;
    this.daily_at := daily_at;
    this.apply := crmsync.function_name(apply);
    this.options := crmsync.without_nulls(crmsync.preset_options(preset, object) || coalesce(options, '{}'));
    this := crmsync.complete_link(this);
    PERFORM crmsync.check_meaning(this, write_fields, on_target_delete, on_audience_loss, on_ambiguous);
    this.owner := crmsync.find_owner(owner, source);
    this.id := nextval('crmsync.link_id_seq');
    this.enabled := false;
    this.retired := false;
    INSERT INTO crmsync.link SELECT this.*;
    INSERT INTO crmsync.link_state (link) VALUES (this.id);
END;
$$;
COMMENT ON FUNCTION crmsync.create_link(text, text, text, regclass, text, regclass, regclass, text, text, text, text, text, text, text, text, text[], text, interval, interval, timetz, regproc, regrole, jsonb)
    IS 'describes a link, which does nothing until map and enable_link; NULL: the default for this kind of target and object';

-- The configuration has names, not OIDs: whether it is the same relation is seen by what is in it.
CREATE FUNCTION crmsync.is_renamed(old crmsync.link, new crmsync.link) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    records text[] := ARRAY(SELECT DISTINCT i.record FROM crmsync.item i
                           WHERE i.link = old.id AND i.record IS NOT NULL AND i.state = 'linked' LIMIT 1000);
BEGIN
    IF records = '{}' OR new.source <> old.source AND to_regclass(old.source) IS NOT NULL
       OR new.key <> old.key AND crmsync.column_type(to_regclass(new.source), old.key) IS NOT NULL THEN
        RETURN false;
    END IF;
    RETURN (SELECT count(*) * 10 >= cardinality(records) * 9
            FROM crmsync.query_as_owner(
                old.id, format('SELECT r.%I::text FROM %s AS r WHERE r.%I::text = ANY (%L)', new.key, new.source, new.key, records), NULL));
END;
$$;
COMMENT ON FUNCTION crmsync.is_renamed(crmsync.link, crmsync.link) IS 'whether the source of a link, or its key, only bears another name now: the old one is gone, and nearly all records that it has items of are there';

CREATE FUNCTION crmsync.alter_link(
    name text, target text DEFAULT NULL, object text DEFAULT NULL, source regclass DEFAULT NULL,
    key text DEFAULT NULL, audience regclass DEFAULT NULL, mailboxes regclass DEFAULT NULL,
    preset text DEFAULT NULL, direction text DEFAULT NULL, conflict text DEFAULT NULL,
    write_fields text DEFAULT NULL, on_crm_delete text DEFAULT NULL,
    on_target_delete text DEFAULT NULL, on_audience_loss text DEFAULT NULL,
    on_ambiguous text DEFAULT NULL, match_on text[] DEFAULT NULL, folder text DEFAULT NULL,
    outbound_interval interval DEFAULT NULL, inbound_interval interval DEFAULT NULL,
    daily_at timetz DEFAULT NULL, apply regproc DEFAULT NULL, owner regrole DEFAULT NULL,
    options jsonb DEFAULT NULL, reset text[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_kind text := (SELECT (crmsync.find_target(alter_link.target, 'admin')).kind WHERE alter_link.target IS NOT NULL);
    old crmsync.link := crmsync.find_link(name, 'admin');
    new crmsync.link;
    settings text[] := '{key,audience,mailboxes,preset,direction,conflict,write_fields,on_crm_delete,on_target_delete,on_audience_loss,on_ambiguous,match_on,folder,outbound_interval,inbound_interval,daily_at,apply}';
    old_kind text := (SELECT t.kind FROM crmsync.target t WHERE t.name = old.target);
    changed text[];
    others boolean;
BEGIN
    IF new_kind <> old_kind THEN
        PERFORM crmsync.not_supported('moving a link to a target of another kind');
    ELSIF object <> old.object THEN
        RAISE EXCEPTION 'the object of a link cannot be changed'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Create another link.';
    ELSIF options IS NOT NULL THEN
        PERFORM crmsync.check_options('link', old_kind, crmsync.without_nulls(options));
    END IF;
    PERFORM crmsync.check_reset(reset, settings || '{options}'
        || ARRAY(SELECT o.name FROM crmsync.options o WHERE o.scope = 'link' AND o.kind = old_kind ORDER BY o.name));
    new := jsonb_populate_record(old, (
        SELECT coalesce(jsonb_object_agg(r, NULL), '{}') FROM unnest(reset) r WHERE r = ANY (settings)));
    new := jsonb_populate_record(new, jsonb_strip_nulls(jsonb_build_object(
        'target', target, 'key', key,
        'source', crmsync.check_relation('source', source, '{r,p,v}'),
        'audience', crmsync.check_relation('audience', audience, '{r,p,v}'),
        'mailboxes', crmsync.check_relation('relation of mailboxes', mailboxes, '{r,p,v}'),
        'preset', preset, 'direction', direction, 'conflict', conflict,
        'write_fields', write_fields, 'on_crm_delete', on_crm_delete,
        'on_target_delete', on_target_delete, 'on_audience_loss', on_audience_loss,
        'on_ambiguous', on_ambiguous, 'match_on', match_on, 'folder', folder,
        'outbound_interval', outbound_interval, 'inbound_interval', inbound_interval,
        'daily_at', daily_at, 'apply', crmsync.function_name(apply))));
    IF daily_at IS NOT NULL AND inbound_interval IS NULL THEN
        new.inbound_interval := NULL;
    ELSIF inbound_interval IS NOT NULL AND daily_at IS NULL THEN
        new.daily_at := NULL;
    END IF;
    new.options := CASE WHEN 'options' = ANY (reset) THEN '{}' ELSE old.options - coalesce(reset, '{}') END
                   || (SELECT coalesce(jsonb_object_agg(o.key, o.value), '{}') FROM jsonb_each(crmsync.preset_options(new.preset, old.object)) o
                       WHERE reset && ARRAY['options', o.key])
                   || coalesce(options, '{}');
    -- A preset that the link had not before fills what is not set.
    IF preset IS DISTINCT FROM old.preset AND preset IS NOT NULL THEN
        PERFORM crmsync.check_preset(preset, old.object);
        new.match_on := coalesce(match_on, nullif(new.match_on, '{}'));
        new.options := crmsync.preset_options(preset, old.object) || new.options;
    END IF;
    new.options := crmsync.without_nulls(new.options);
    new := crmsync.complete_link(new);
    PERFORM crmsync.check_meaning(new, write_fields, on_target_delete, on_audience_loss, on_ambiguous);
    IF owner IS NOT NULL THEN
        new.owner := crmsync.find_owner(owner, crmsync.find_relation('source', new.source));
    END IF;
    changed := ARRAY(SELECT c FROM unnest('{target,source,key,audience,mailboxes,owner,folder,apply}'::text[]) c
                     WHERE to_jsonb(new) -> c <> to_jsonb(old) -> c);
    IF changed && '{source,audience,mailboxes,apply}'
       OR new.options -> 'memberships' IS DISTINCT FROM old.options -> 'memberships' THEN
        PERFORM crmsync.check_may_run_as_owner(new);
    END IF;
    PERFORM crmsync.check_may_write_as_owner(old, new);
    IF old.enabled AND changed <> '{}' THEN
        RAISE EXCEPTION 'the % of an enabled link cannot be changed', array_to_string(changed, ', ')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Call crmsync.disable_link(%L) before and crmsync.enable_link(%1$L) after.', name);
    END IF;
    others := 'folder' = ANY (changed) OR changed && '{source,key}' AND NOT crmsync.is_renamed(old, new);
    IF new.target <> old.target AND EXISTS (SELECT FROM crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox
                                               WHERE i.link = old.id AND coalesce(m.target, old.target) <> new.target
                                                 AND NOT crmsync.may_be_forgotten(i, new)) THEN
        IF crmsync.is_import(old) THEN
            RAISE EXCEPTION 'link "%" has imported from target "%", and stays there', name, old.target
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('Where the same directory is at another place now: SELECT crmsync.alter_target(%L, url => ...). '
                                    'For another directory create another link.', old.target);
        END IF;
        RAISE EXCEPTION 'link "%" has items at other targets than "%"', name, new.target
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Its mailboxes can move one by one: the column target of the relation of mailboxes says where each is.';
    ELSIF others AND EXISTS (SELECT FROM crmsync.item i WHERE i.link = old.id AND NOT crmsync.may_be_forgotten(i, new)) THEN
        RAISE EXCEPTION 'the % of a link that has items cannot be changed', array_to_string(changed, ', ')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Create another link, or drop this one; its items stay where they are.';
    END IF;
    UPDATE crmsync.link l
    SET (target, source, key, audience, mailboxes, preset, direction, conflict, write_fields,
         on_crm_delete, on_target_delete, on_audience_loss, on_ambiguous, match_on, folder,
         outbound_interval, inbound_interval, daily_at, apply, owner, options)
      = (new.target, new.source, new.key, new.audience, new.mailboxes, new.preset, new.direction,
         new.conflict, new.write_fields, new.on_crm_delete, new.on_target_delete,
         new.on_audience_loss, new.on_ambiguous, new.match_on, new.folder,
         new.outbound_interval, new.inbound_interval, new.daily_at, new.apply, new.owner, new.options)
    WHERE l.id = old.id;
    IF old.enabled AND (new.direction, new.match_on, new.on_target_delete, new.options -> 'modified_column')
           IS DISTINCT FROM (old.direction, old.match_on, old.on_target_delete, old.options -> 'modified_column') THEN
        PERFORM crmsync.check_incoming(new);
        PERFORM crmsync.notice_incoming(new) WHERE new.direction <> old.direction;
    END IF;
    IF others THEN
        PERFORM crmsync.forget_contents(old.id);
    END IF;
    IF new.target <> old.target THEN
        -- Where each mailbox is does not change by that.
        UPDATE crmsync.mailbox m SET target = nullif(coalesce(m.target, old.target), new.target) WHERE m.link = old.id;
        PERFORM crmsync.note_link_targets(old.id);
    END IF;
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.alter_link(text, text, text, regclass, text, regclass, regclass, text, text, text, text, text, text, text, text, text[], text, interval, interval, timetz, regproc, regrole, jsonb, text[])
    IS 'changes a link; an enabled one goes by it at once, with the mapping in force, and is checked like by enable_link; NULL keeps, reset brings settings or single options back to their defaults, which are those of the preset; options merge key by key; a preset that the link had not before fills match_on, intervals and options that are not set';
