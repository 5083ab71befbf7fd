-- What the interface names and this version does not do: refused in so many words.

CREATE FUNCTION crmsync.resolve(conflict bigint, choice text)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN crmsync.not_supported('resolve');
COMMENT ON FUNCTION crmsync.resolve(bigint, text) IS 'decides a conflict; not supported yet';
