-- Why a record is, or is not, in a mailbox: the same queries that the worker runs, and what it knows.

CREATE FUNCTION crmsync.why_record(this crmsync.link, record text)
RETURNS TABLE (step text, ok boolean, detail text, hint text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found boolean;
BEGIN
    found := EXISTS (SELECT FROM crmsync.query_as_owner(this.id, crmsync.source_query(this.id), ARRAY[record]) q);
    RETURN QUERY SELECT 'record', found,
        CASE WHEN found THEN format('it is in %s', this.source) ELSE format('it is not in %s', this.source) END,
        CASE WHEN NOT found THEN format('The key is column "%s"; a view may leave the row out.', this.key) END;
EXCEPTION WHEN OTHERS THEN
    RETURN QUERY SELECT 'record', false, coalesce(crmsync.column_problem(this.id), sqlerrm), 'The source cannot be read; see crmsync.status.';
END;
$$;
COMMENT ON FUNCTION crmsync.why_record(crmsync.link, text) IS 'a step of why: the source';

CREATE FUNCTION crmsync.why_audience(this crmsync.link, record text, mailbox text)
RETURNS TABLE (step text, ok boolean, detail text, hint text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    others text[];
    found boolean;
BEGIN
    others := ARRAY(SELECT q.q[2] FROM crmsync.query_as_owner(
                        this.id, crmsync.audience_query(this.id), ARRAY[record]) AS q (q) ORDER BY 1);
    found := mailbox = ANY (others);
    RETURN QUERY SELECT 'audience', found,
        CASE WHEN found THEN format('%s gives it to this mailbox', this.audience)
             ELSE format('%s gives it to %s mailboxes, not to this one', this.audience, cardinality(others)) END,
        CASE WHEN NOT found THEN format('SELECT * FROM %s WHERE record::text = %L;', this.audience, record) END;
EXCEPTION WHEN OTHERS THEN
    RETURN QUERY SELECT 'audience', false, coalesce(crmsync.column_problem(this.id), sqlerrm), 'The audience cannot be read; see crmsync.status.';
END;
$$;
COMMENT ON FUNCTION crmsync.why_audience(crmsync.link, text, text) IS 'a step of why: the audience';

CREATE FUNCTION crmsync.why_takes_part(this crmsync.link, mailbox text)
RETURNS TABLE (step text, ok boolean, detail text, hint text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    enabled boolean;
    automatic boolean;
BEGIN
    IF this.mailboxes IS NULL THEN
        RETURN;
    END IF;
    SELECT q.q[2]::boolean, q.q[3]::boolean INTO enabled, automatic
    FROM crmsync.query_as_owner(this.id, crmsync.mailboxes_query(this.id), NULL) AS q (q) WHERE q.q[1] = mailbox;
    RETURN QUERY SELECT 'mailbox takes part', coalesce(enabled, false),
        CASE WHEN enabled IS NULL THEN format('it is not in %s', this.mailboxes)
             WHEN enabled THEN format('it is enabled in %s', this.mailboxes) || CASE WHEN automatic THEN '' ELSE ', and not automatic' END
             ELSE format('it is not enabled in %s, or at a target that this link cannot use', this.mailboxes) END,
        CASE WHEN enabled IS NOT TRUE THEN 'Nothing is written there, nor deleted before crmsync.withdraw.'
             WHEN NOT automatic THEN format('SELECT * FROM crmsync.sync(%L, mailbox => %L); brings it up to date.', this.name, mailbox) END;
EXCEPTION WHEN OTHERS THEN
    RETURN QUERY SELECT 'mailbox takes part', false, coalesce(crmsync.column_problem(this.id), sqlerrm), 'The relation of mailboxes cannot be read; see crmsync.status.';
END;
$$;
COMMENT ON FUNCTION crmsync.why_takes_part(crmsync.link, text) IS 'a step of why: the relation of mailboxes';

-- That there is none is no reason why a record is not in a mailbox, but why a property is empty there.
CREATE FUNCTION crmsync.why_children(this crmsync.link, record text)
RETURNS TABLE (step text, ok boolean, detail text, hint text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT 'child rows', true,
               format('%s has %s %s%s: %s', c.child ->> 'relation',
                      CASE WHEN EXISTS (SELECT FROM crmsync.query_as_owner(
                                            this.id, crmsync.child_rows_query(c.child, c.columns, crmsync.key_type(this.id)), ARRAY[record]) q)
                           THEN 'row' ELSE 'no row' END,
                      c.child ->> 'position', ' for ' || nullif(c.child ->> 'fixed', '{}'),
                      (SELECT string_agg(m.property, ', ' ORDER BY m.property) FROM crmsync.mapping_in_force(this.id) m WHERE m.child = c.child)),
               NULL
        FROM crmsync.children(this.id) c;
EXCEPTION WHEN OTHERS THEN
    RETURN QUERY SELECT 'child rows', false, coalesce(crmsync.column_problem(this.id), sqlerrm), 'Child rows cannot be read; see crmsync.status.';
END;
$$;
COMMENT ON FUNCTION crmsync.why_children(crmsync.link, text) IS 'steps of why: the child rows';

CREATE FUNCTION crmsync.why_known(this crmsync.link, record text, mailbox text)
RETURNS TABLE (step text, ok boolean, detail text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT 'mailbox', m.code IS NULL, coalesce(concat_ws(': ', m.code, m.message), 'it answers'),
           CASE WHEN m.code IS NULL THEN NULL
                WHEN m.code = 'MOVING' THEN 'Its items are looked for at the other target then.'
                ELSE concat_ws(' ', CASE WHEN m.next_attempt IS NULL OR m.disabled
                                         THEN format('Mend it, then SELECT crmsync.retry(%L, mailbox => %L);', this.name, mailbox) END,
                               format('It is tried again at %s.', m.next_attempt::timestamptz(0))) END
    FROM crmsync.mailbox m WHERE m.link = this.id AND m.address = why_known.mailbox
    UNION ALL
    SELECT 'move', false, format('its items are looked for at target "%s" since %s', coalesce(m.target, this.target), m.moved::timestamptz(0)),
           'Nothing is written there before.'
    FROM crmsync.mailbox m WHERE m.link = this.id AND m.address = why_known.mailbox AND m.moved IS NOT NULL
    UNION ALL
    SELECT 'withdrawal', false, format('the link''s items are being taken out of it since %s', p.since::timestamptz(0)), NULL
    FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox
    WHERE p.mode = 'withdraw' AND m.link = this.id AND m.address = why_known.mailbox
    UNION ALL
    SELECT 'pending', false, format('it waits to be looked at since %s', min(p.since)::timestamptz(0)), NULL
    FROM crmsync.pending p WHERE p.link = this.id AND p.record = why_known.record HAVING count(*) > 0
    UNION ALL
    SELECT 'matching', false, 'what its user has there already is not known yet', 'Nothing is created before the mailbox has been read (match_on).'
    FROM crmsync.mailbox m
    WHERE m.link = this.id AND m.address = why_known.mailbox AND m.met IS NULL AND this.match_on <> '{}'
    UNION ALL
    SELECT 'matching', false, 'an item that its user has there may be of it',
           coalesce(format('See crmsync.conflicts, then SELECT crmsync.resolve(%s, ...);', c.id), a.code || ': ' || a.message,
                    'It waits until all items of the mailbox are known.')
    FROM crmsync.arrival a JOIN crmsync.mailbox m ON m.id = a.mailbox
    LEFT JOIN (crmsync.conflict c JOIN crmsync.open_conflict o ON o.id = c.id)
        ON c.mailbox = a.mailbox AND c.item = a.remote_id AND c.kind = 'ambiguous'
    WHERE m.link = this.id AND m.address = why_known.mailbox AND why_known.record = ANY (a.records)
      AND NOT EXISTS (SELECT FROM crmsync.item i WHERE i.link = this.id AND i.record = why_known.record AND i.mailbox = m.id AND i.state = 'linked')
    UNION ALL
    SELECT 'failure', false, format('%s, %s attempts: %s', f.code, f.attempts, f.message),
           CASE WHEN f.parked
                THEN format('It is parked; change the record, or SELECT crmsync.retry(%L, %L, %L);', this.name, record, mailbox)
                WHEN f.next_attempt IS NULL THEN 'It goes on with its mailbox.'
                ELSE format('It is tried again at %s.', f.next_attempt::timestamptz(0)) END
    FROM crmsync.failing f LEFT JOIN crmsync.mailbox m ON m.id = f.mailbox
    WHERE f.link = this.id AND f.record = why_known.record AND coalesce(m.address = why_known.mailbox, true)
    UNION ALL
    SELECT 'item', coalesce(i.state = 'linked', false),
           CASE i.state WHEN 'linked' THEN format('it is in the mailbox since %s', i.since::timestamptz(0))
                        WHEN 'leaving' THEN format('it is to be deleted since %s', i.since::timestamptz(0))
                        WHEN 'gone' THEN 'it was deleted in the mailbox'
                        WHEN 'absent' THEN format('it was deleted in the mailbox, as was found %s', i.since::timestamptz(0))
                        WHEN 'removed' THEN format('it was deleted in the mailbox, and the record is to be deleted since %s', i.since::timestamptz(0))
                        WHEN 'unlinked' THEN format('it is left to its user since %s', i.since::timestamptz(0))
                        ELSE 'it is not in the mailbox' END,
           CASE WHEN i.state IN ('leaving', 'removed') AND NOT i.confirmed AND s.held IS NOT NULL
                THEN format('%s: SELECT crmsync.confirm_deletes(%L);', s.held, this.name)
                WHEN i.state = 'gone' THEN 'It is not written again (on_target_delete).'
                WHEN i.state = 'absent' AND this.on_target_delete <> 'recreate' THEN 'It is written again when the CRM changes it.' END
    FROM (SELECT) one
    LEFT JOIN crmsync.link_state s ON s.link = this.id
    LEFT JOIN (crmsync.item i JOIN crmsync.mailbox m ON m.id = i.mailbox AND m.address = why_known.mailbox)
        ON i.link = this.id AND i.record = why_known.record;
END;
COMMENT ON FUNCTION crmsync.why_known(crmsync.link, text, text) IS 'steps of why: what the worker knows';

CREATE FUNCTION crmsync.why(link text, record text, mailbox text)
RETURNS TABLE (step text, ok boolean, detail text, hint text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator', retired => true);
    address text := crmsync.address(mailbox);
BEGIN
    IF crmsync.is_import(this) THEN
        PERFORM crmsync.not_supported('why for an import', 'See the views crmsync.items and crmsync.failures.');
    ELSIF record IS NULL OR mailbox IS NULL THEN
        RAISE EXCEPTION 'why needs a record and a mailbox' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
        SELECT 'link', s.state IN ('idle', 'working') AND NOT this.retired,
               concat_ws(': ', CASE WHEN this.retired THEN 'it is being dropped' END, s.state, s.last_error),
               CASE WHEN s.state NOT IN ('idle', 'working') THEN 'See the view crmsync.alerts.' END
        FROM crmsync.status s WHERE s.link = this.name;
    IF NOT this.retired THEN
        RETURN QUERY SELECT w.* FROM crmsync.why_record(this, record) w;
        RETURN QUERY SELECT w.* FROM crmsync.why_children(this, record) w;
        RETURN QUERY SELECT w.* FROM crmsync.why_audience(this, record, address) w WHERE this.audience IS NOT NULL;
        RETURN QUERY SELECT w.* FROM crmsync.why_takes_part(this, address) w;
    END IF;
    RETURN QUERY SELECT w.* FROM crmsync.why_known(this, record, address) w;
END;
$$;
COMMENT ON FUNCTION crmsync.why(text, text, text) IS 'why a record is, or is not, in a mailbox, step by step';
