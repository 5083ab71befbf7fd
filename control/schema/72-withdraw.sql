-- Taking the items of a link out of mailboxes, and the link with the last of them.

-- What is withdrawn must stay away by itself: a link fills the mailboxes that take part in it.
CREATE FUNCTION crmsync.unfilled_mailboxes(this crmsync.link) RETURNS SETOF integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    filled text[] := '{}';
BEGIN
    IF this.enabled AND this.mailboxes IS NULL THEN
        RAISE EXCEPTION 'link "%" would fill its mailboxes again', this.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'It is enabled and has no relation of mailboxes: whomever its audience names takes part.',
                  HINT = format('Take the mailbox out of %s, or call crmsync.disable_link(%L) first.', this.audience, this.name);
    ELSIF this.enabled THEN
        PERFORM crmsync.find_relation('relation of mailboxes', this.mailboxes);
        filled := ARRAY(SELECT q.q[1] FROM crmsync.query_as_owner(this.id, crmsync.mailboxes_query(this.id), NULL) AS q (q)
                        WHERE q.q[2]::boolean);
    END IF;
    RETURN QUERY SELECT m.id FROM crmsync.mailbox m WHERE m.link = this.id AND m.address <> ALL (filled);
END;
$$;
COMMENT ON FUNCTION crmsync.unfilled_mailboxes(crmsync.link) IS 'mailboxes that the link has written to and does not write to now: they take no part any more, or it is disabled; refuses a link that fills all there are';

CREATE FUNCTION crmsync.withdraw(link text, mailbox text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'operator', retired => true);
    only_mailbox integer := crmsync.check_mailbox(this, mailbox);
    mailboxes integer[];
BEGIN
    IF crmsync.is_import(this) THEN
        RAISE EXCEPTION 'link "%" writes to no mailbox', link
            USING ERRCODE = 'invalid_parameter_value', HINT = 'What an import has brought into the CRM is the CRM''s own.';
    END IF;
    mailboxes := ARRAY(SELECT u FROM crmsync.unfilled_mailboxes(this) u WHERE u = coalesce(only_mailbox, u));
    IF only_mailbox IS NOT NULL AND mailboxes = '{}' THEN
        RAISE EXCEPTION 'mailbox "%" takes part in link "%" and would be filled again', mailbox, link
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Take it out of %s first.', this.mailboxes);
    END IF;
    INSERT INTO crmsync.request (action, link, mailbox) SELECT 'withdraw', this.id, u FROM unnest(mailboxes) u;
    PERFORM crmsync.wake();
    RETURN (SELECT count(*) FROM crmsync.item i
            WHERE i.link = this.id AND i.mailbox = ANY (mailboxes) AND i.state IN ('linked', 'leaving'));
END;
$$;
COMMENT ON FUNCTION crmsync.withdraw(text, text) IS 'takes the items of a link out of a mailbox that takes no part any more, or out of all such, of a disabled link out of any: they are deleted, once the guard lets them, and those that a user made are only unlinked; returns how many there are';

CREATE FUNCTION crmsync.forget_link(link integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    roles text[];
BEGIN
    PERFORM crmsync.lock_grants();
    roles := ARRAY(SELECT g.role FROM crmsync.role_grant g WHERE g.link = forget_link.link);
    DELETE FROM crmsync.link l WHERE l.id = forget_link.link;
    PERFORM crmsync.forget_earlier_role(r::regrole), crmsync.set_privileges(r::regrole) FROM unnest(roles) r WHERE to_regrole(r) IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION crmsync.forget_link(integer) IS 'removes a link and all that is known about its items';

-- Whose items cannot be reached for now keeps the link: it is the last to know of them.
CREATE FUNCTION crmsync.finish_drop(link integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Whom an administrator has at hand can go later.
    PERFORM FROM crmsync.link l WHERE l.id = finish_drop.link FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR EXISTS (SELECT FROM crmsync.request r WHERE r.link = finish_drop.link) THEN
        RETURN false;
    END IF;
    INSERT INTO crmsync.repair (mailbox, mode, since)
    SELECT m.id, 'withdraw', now() FROM crmsync.mailbox m
    WHERE m.link = finish_drop.link
      AND EXISTS (SELECT FROM crmsync.item i WHERE i.mailbox = m.id AND (i.state IN ('linked', 'leaving') OR i.state = 'unlinked' AND i.stamped))
    ON CONFLICT ON CONSTRAINT repair_pkey DO NOTHING;
    IF EXISTS (SELECT FROM crmsync.repair p JOIN crmsync.mailbox m ON m.id = p.mailbox WHERE m.link = finish_drop.link) THEN
        RETURN false;
    END IF;
    BEGIN
        LOCK TABLE crmsync.role_grant IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    PERFORM crmsync.forget_link(finish_drop.link);
    RETURN true;
END;
$$;
COMMENT ON FUNCTION crmsync.finish_drop(integer) IS 'a link that is being dropped goes when it has no items any more; by the worker';

CREATE FUNCTION crmsync.retire_link(this crmsync.link) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF crmsync.is_import(this) THEN
        RAISE EXCEPTION 'link "%" has no items to delete', this.name
            USING ERRCODE = 'invalid_parameter_value', HINT = 'What an import has brought into the CRM is the CRM''s own: use items => ''keep''.';
    ELSIF this.retired THEN
        RETURN;
    END IF;
    PERFORM crmsync.disarm_link(this.id);
    UPDATE crmsync.link l SET enabled = false, armed_mapping = NULL, armed_groups = NULL, retired = true WHERE l.id = this.id;
    INSERT INTO crmsync.request (action, link) VALUES ('clear', this.id), ('withdraw', this.id);
    IF NOT crmsync.wake() THEN
        RAISE WARNING 'no worker runs in this database: %', crmsync.worker_state();
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.retire_link(crmsync.link) IS 'a link stops, and only takes its items back from now on';

CREATE FUNCTION crmsync.forget_links(links integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    captures integer[];
BEGIN
    -- What the worker has decided, and is about to write there, is committed before; what it does for other
    -- links leaves these out from now on: links_at_hand.h.
    PERFORM FROM crmsync.link l WHERE l.id = ANY (links) ORDER BY l.id FOR UPDATE;
    captures := ARRAY(SELECT DISTINCT cl.capture FROM crmsync.capture_link cl WHERE cl.link = ANY (links));
    PERFORM crmsync.forget_link(l) FROM unnest(links) l;
    -- Last: who writes the CRM's tables waits from then on, and there may be a million items to forget.
    PERFORM crmsync.disarm_captures(captures);
    PERFORM crmsync.wake();
END;
$$;
COMMENT ON FUNCTION crmsync.forget_links(integer[]) IS 'removes links at once, with the triggers that only they needed';

CREATE FUNCTION crmsync.drop_link(name text, items text DEFAULT 'keep') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(name, 'admin', retired => true);
BEGIN
    IF items IS NULL OR items NOT IN ('keep', 'delete') THEN
        RAISE EXCEPTION 'invalid value % for items', coalesce(quote_literal(items), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Allowed: keep, delete.';
    END IF;
    -- A worker that makes a mailbox known has committed it before.
    PERFORM FROM crmsync.link l WHERE l.id = this.id FOR UPDATE;
    IF items = 'delete' AND (this.enabled OR crmsync.is_import(this) OR EXISTS (SELECT FROM crmsync.mailbox m WHERE m.link = this.id)) THEN
        PERFORM crmsync.retire_link(this);
        RETURN;
    END IF;
    PERFORM crmsync.forget_links(ARRAY[this.id]);
END;
$$;
COMMENT ON FUNCTION crmsync.drop_link(text, text) IS 'forgets a link and all that is known about its items. keep: at once, and they stay where they are; delete: they are withdrawn, and the link goes with the last of them';
