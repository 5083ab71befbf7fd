-- What the interface names and this version does not do: refused in so many words.

CREATE FUNCTION crmsync.resolve(conflict bigint, choice text)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN crmsync.not_supported('resolve');
COMMENT ON FUNCTION crmsync.resolve(bigint, text) IS 'decides a conflict; not supported yet';

CREATE FUNCTION crmsync.undo(link text, since timestamptz, mailbox text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN crmsync.not_supported('undo', 'The view crmsync.history shows what was written.');
COMMENT ON FUNCTION crmsync.undo(text, timestamptz, text) IS 'brings back what was overwritten since then; not supported yet';
