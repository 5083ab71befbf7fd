-- Conflicts that somebody decides.

-- Of what is decided only a field can be decided anew. A view, since readers see what it says, and its
-- functions would run as them.
CREATE VIEW crmsync.conflict_choice AS
SELECT c.id,
       CASE
       WHEN c.kind = 'field' AND EXISTS (SELECT FROM crmsync.mapping p WHERE p.link = l.id AND p.property = c.property) THEN '{crm,target}'::text[]
       WHEN c.kind = 'field' OR o.id IS NULL THEN '{}'
       WHEN c.kind IN ('delete', 'unlinked') THEN '{keep,delete}'
       ELSE ARRAY(SELECT r.r FROM unnest(c.records) WITH ORDINALITY AS r (r, n)
                  WHERE NOT EXISTS (SELECT FROM crmsync.item i
                                    WHERE i.link = c.link AND i.record = r.r AND i.mailbox = c.mailbox
                                      AND i.state NOT IN ('absent', 'gone', 'removed'))
                    AND r.r NOT IN ('new', 'leave') ORDER BY r.n)
            || CASE WHEN l.direction <> 'outbound' THEN '{new}'::text[] END || '{leave}'::text[] END AS choices
FROM crmsync.conflict c
JOIN crmsync.link l ON l.id = c.link
LEFT JOIN crmsync.open_conflict o ON o.id = c.id;
COMMENT ON VIEW crmsync.conflict_choice IS 'what resolve takes for a conflict';
COMMENT ON COLUMN crmsync.conflict_choice.id IS 'number of the conflict';
COMMENT ON COLUMN crmsync.conflict_choice.choices IS 'what it can be settled with; empty: with nothing';

CREATE FUNCTION crmsync.resolve(conflict bigint, choice text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.conflict;
    choices text[];
BEGIN
    SELECT c.* INTO this FROM crmsync.conflict c WHERE c.id = resolve.conflict;
    PERFORM crmsync.find_link(l.name, 'operator') FROM crmsync.link l WHERE l.id = this.link;
    choices := coalesce((SELECT c.choices FROM crmsync.conflict_choice c WHERE c.id = this.id), '{}');
    IF choices = '{}' THEN
        RAISE EXCEPTION 'there is no conflict % to decide', coalesce(conflict::text, 'NULL')
            USING ERRCODE = 'undefined_object', HINT = 'See the view crmsync.conflicts, column choices.';
    ELSIF choice IS NULL OR choice <> ALL (choices) THEN
        RAISE EXCEPTION 'invalid choice %', coalesce(quote_literal(choice), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Choices: %s.', array_to_string(choices, ', '));
    END IF;
    INSERT INTO crmsync.request (action, link, mailbox, conflict, choice)
    VALUES ('resolve', this.link, this.mailbox, this.id, resolve.choice);
    PERFORM crmsync.request_sync(this.link);
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.resolve(bigint, text) IS 'decides a conflict. field: the CRM gets the value of the side that is chosen, crm or target, and everybody has it from there, or, where it does not come in, the item gets it; ambiguous: the item is of the record whose key is given, or becomes a new one (new), or stays its user''s (leave); unlinked: the item that was left to its user stays (keep), or goes (delete); delete: the record stays in the CRM (keep), or goes (delete)';

CREATE FUNCTION crmsync.comes_in(link integer, property text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM crmsync.inbound_columns(link) c
               LEFT JOIN crmsync.property_list() p ON p.name = c.property
               WHERE c.property = comes_in.property AND p.access IS DISTINCT FROM 'outbound');
COMMENT ON FUNCTION crmsync.comes_in(integer, text) IS 'whether a link brings the property into the CRM';

-- What is only sent cannot come from the CRM with another value. The mailbox's own is written as undo does
-- it, so that the shadow still says what the CRM has; and of the CRM's own nothing is due until the shadow
-- says what is in the mailbox.
CREATE FUNCTION crmsync.decide_field(this crmsync.conflict, shadow jsonb, since timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ours jsonb := jsonb_build_object(this.property, this.crm_value);
    theirs jsonb := jsonb_build_object(this.property, this.target_value);
BEGIN
    UPDATE crmsync.undoing u SET old = u.old - this.property, new = u.new - this.property
    WHERE u.link = this.link AND u.step = 'item' AND u.mailbox = this.mailbox AND u.record = this.record;
    IF this.choice = 'target' THEN
        -- Unless it says so already, and the CRM's value is just about to go out.
        IF shadow ->> this.property IS DISTINCT FROM this.target_value THEN
            ours := jsonb_build_object(this.property, shadow ->> this.property);
        END IF;
        INSERT INTO crmsync.undoing AS u (link, step, mailbox, record, old, new, since)
        VALUES (this.link, 'item', this.mailbox, this.record, theirs, ours, decide_field.since)
        ON CONFLICT ON CONSTRAINT undoing_pkey DO UPDATE SET old = u.old || excluded.old, new = u.new || excluded.new;
    END IF;
    UPDATE crmsync.item i SET shadow = jsonb_strip_nulls(i.shadow || CASE this.choice WHEN 'target' THEN ours ELSE theirs END)
    WHERE i.link = this.link AND i.record = this.record AND i.mailbox = this.mailbox;
    INSERT INTO crmsync.pending AS p (link, tier, record, since) VALUES (this.link, 0, this.record, decide_field.since)
    ON CONFLICT ON CONSTRAINT pending_pkey DO UPDATE SET version = p.version + 1;
END;
$$;
COMMENT ON FUNCTION crmsync.decide_field(crmsync.conflict, jsonb, timestamptz) IS 'the item gets the value of the side that was chosen; who waits, waits for it as for what was asked for at that time';

CREATE FUNCTION crmsync.decide_fields(link integer, mailboxes integer[], records text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.conflict;
    shadow jsonb;
    why text;
    asked timestamptz;
BEGIN
    WITH taken AS (
        DELETE FROM crmsync.undoing u USING unnest(mailboxes, records) d (mailbox, record)
        WHERE u.link = decide_fields.link AND u.step = 'decide' AND u.mailbox = d.mailbox AND u.record = d.record RETURNING u.since)
    SELECT coalesce(min(t.since), now()) INTO asked FROM taken t;
    FOR this IN
        SELECT c.* FROM crmsync.conflict c JOIN unnest(decide_fields.mailboxes, decide_fields.records) d (mailbox, record) ON c.mailbox = d.mailbox AND c.record = d.record
        WHERE c.link = decide_fields.link AND c.kind = 'field' AND c.choice <> c.winner AND NOT crmsync.comes_in(c.link, c.property)
        ORDER BY c.id
    LOOP
        shadow := (SELECT i.shadow FROM crmsync.item i
                   WHERE i.link = this.link AND i.record = this.record AND i.mailbox = this.mailbox AND i.state = 'linked');
        why := CASE
            WHEN NOT EXISTS (SELECT FROM crmsync.mapping_in_force(this.link) m WHERE m.property = this.property)
                THEN format('property "%s" is not mapped any more', this.property)
            WHEN shadow IS NULL THEN 'there is no item of the record any more'
            WHEN (shadow ->> this.property IN (this.crm_value, this.target_value)
                  OR shadow ->> this.property IS NULL AND (this.crm_value IS NULL OR this.target_value IS NULL)) IS NOT TRUE
                 AND EXISTS (SELECT FROM crmsync.mapping_in_force(this.link) m WHERE m.property = this.property AND m.child IS NOT NULL)
                THEN format('property "%s" has another value meanwhile, and may be of another row', this.property)
            WHEN this.choice = 'target' AND this.target_value IS NOT NULL AND crmsync.binary_limit(this.property) IS NOT NULL
                THEN format('only a description of property "%s" is kept', this.property) END;
        PERFORM crmsync.decide_field(this, shadow, asked) WHERE why IS NULL;
        UPDATE crmsync.conflict c
        SET winner = CASE WHEN why IS NULL THEN c.choice ELSE c.winner END, choice = CASE WHEN why IS NULL THEN c.choice END, problem = why
        WHERE c.id = this.id;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION crmsync.decide_fields(integer, integer[], text[]) IS 'what was chosen for fields that do not come in is done to the items that nothing else goes on for; by the worker';

-- The item is as it was when somebody was asked about it, or what he chose is of nothing any more.
CREATE FUNCTION crmsync.carry_out_resolutions(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH chosen AS (
        SELECT DISTINCT ON (r.conflict) r.conflict, r.choice, r.at FROM unnest(requests) r ORDER BY r.conflict, r.id DESC
    ), settled AS (
        SELECT c.*, h.choice AS chosen, h.at AS asked FROM chosen h JOIN crmsync.conflict c ON c.id = h.conflict
    ), noted AS (
        UPDATE crmsync.conflict c SET choice = s.chosen, problem = NULL FROM settled s WHERE c.id = s.id
    ), looked_at AS (
        UPDATE crmsync.arrival a SET attempts = 0, next_attempt = NULL, code = NULL, message = NULL
        FROM settled s WHERE s.kind = 'ambiguous' AND a.mailbox = s.mailbox AND a.remote_id = s.item
    ), fields AS (
        INSERT INTO crmsync.undoing (link, step, mailbox, record, old, since)
        SELECT s.link, 'decide', s.mailbox, s.record, '{}'::jsonb, min(s.asked) FROM settled s
        WHERE s.kind = 'field' AND s.chosen <> s.winner AND NOT crmsync.comes_in(s.link, s.property)
        GROUP BY s.link, s.mailbox, s.record
        ON CONFLICT DO NOTHING
    )
    UPDATE crmsync.item i
    SET state = CASE s.kind WHEN 'unlinked' THEN 'leaving' ELSE 'removed' END, stamped = i.stamped AND s.kind <> 'unlinked',
        confirmed = true, since = now()
    FROM settled s
    WHERE s.chosen = 'delete' AND i.link = s.link AND i.record = s.record AND i.mailbox = s.mailbox AND i.remote_id = s.item
      AND i.state = CASE s.kind WHEN 'unlinked' THEN 'unlinked' WHEN 'delete' THEN 'absent' END;
END;
COMMENT ON FUNCTION crmsync.carry_out_resolutions(crmsync.request[]) IS 'what was chosen is noted, and done as all else is; by the worker';
