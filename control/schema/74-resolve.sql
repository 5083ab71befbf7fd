-- Conflicts that somebody decides.

-- Of what is decided only a field can be decided anew. A view, since readers see what it says, and its
-- functions would run as them.
CREATE VIEW crmsync.conflict_choice AS
SELECT c.id,
       CASE
       WHEN c.kind = 'field' AND l.direction <> 'outbound'
            AND EXISTS (SELECT FROM crmsync.mapping p
                        WHERE p.link = l.id AND p.property = c.property AND p.crm NOT LIKE '(%' AND coalesce(p.direction, 'both') <> 'outbound')
       THEN '{crm,target}'::text[]
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
COMMENT ON FUNCTION crmsync.resolve(bigint, text) IS 'decides a conflict. field: the CRM gets the value of the side that is chosen, crm or target, and everybody has it from there; ambiguous: the item is of the record whose key is given, or becomes a new one (new), or stays its user''s (leave); unlinked: the item that was left to its user stays (keep), or goes (delete); delete: the record stays in the CRM (keep), or goes (delete)';

-- The item is as it was when somebody was asked about it, or what he chose is of nothing any more.
CREATE FUNCTION crmsync.carry_out_resolutions(requests crmsync.request[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH chosen AS (
        SELECT DISTINCT ON (r.conflict) r.conflict, r.choice FROM unnest(requests) r ORDER BY r.conflict, r.id DESC
    ), settled AS (
        SELECT c.*, h.choice AS chosen FROM chosen h JOIN crmsync.conflict c ON c.id = h.conflict
    ), noted AS (
        UPDATE crmsync.conflict c SET choice = s.chosen, problem = NULL FROM settled s WHERE c.id = s.id
    ), looked_at AS (
        UPDATE crmsync.arrival a SET attempts = 0, next_attempt = NULL, code = NULL, message = NULL
        FROM settled s WHERE s.kind = 'ambiguous' AND a.mailbox = s.mailbox AND a.remote_id = s.item
    )
    UPDATE crmsync.item i
    SET state = CASE s.kind WHEN 'unlinked' THEN 'leaving' ELSE 'removed' END, confirmed = true, since = now()
    FROM settled s
    WHERE s.chosen = 'delete' AND i.link = s.link AND i.record = s.record AND i.mailbox = s.mailbox AND i.remote_id = s.item
      AND i.state = CASE s.kind WHEN 'unlinked' THEN 'unlinked' WHEN 'delete' THEN 'absent' END;
END;
COMMENT ON FUNCTION crmsync.carry_out_resolutions(crmsync.request[]) IS 'what was chosen is noted, and done as all else is; by the worker';
