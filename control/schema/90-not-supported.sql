-- What the interface names and this version does not do: refused in so many words.

CREATE FUNCTION crmsync.map_child(
    link text, relation regclass, column_name text, columns jsonb, fixed jsonb DEFAULT '{}',
    "position" integer DEFAULT 1, order_by text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN crmsync.not_supported('map_child', 'Map an expression with a sub-query over r, and watch the child table.');
COMMENT ON FUNCTION crmsync.map_child(text, regclass, text, jsonb, jsonb, integer, text) IS 'maps columns of a chosen row of a child table; not supported yet';

CREATE FUNCTION crmsync.unmap_child(
    link text, relation regclass, column_name text DEFAULT NULL, fixed jsonb DEFAULT NULL,
    "position" integer DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN crmsync.not_supported('unmap_child');
COMMENT ON FUNCTION crmsync.unmap_child(text, regclass, text, jsonb, integer) IS 'undoes map_child; not supported yet';

CREATE FUNCTION crmsync.undo(link text, since timestamptz, mailbox text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN crmsync.not_supported('undo', 'The view crmsync.history shows what was written.');
COMMENT ON FUNCTION crmsync.undo(text, timestamptz, text) IS 'brings back what was overwritten since then; not supported yet';
