-- In which direction a mapping works: all that the link, what is mapped and the mapping itself allow.

CREATE FUNCTION crmsync.makes_its_values(relation oid, column_name text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = relation AND a.attname = column_name AND a.attnum > 0 AND (a.attgenerated <> '' OR a.attidentity = 'a'));
END;
COMMENT ON FUNCTION crmsync.makes_its_values(oid, text) IS 'whether a column is GENERATED ALWAYS, by an expression or as an identity';

-- With apply, its function writes what it likes. A key that comes in is what new rows are made with.
CREATE FUNCTION crmsync.not_writable(this crmsync.link, mapped crmsync.mapping) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
    WHEN this.apply IS NOT NULL THEN NULL
    WHEN mapped.crm LIKE '(%' THEN 'an expression'
    WHEN mapped.child IS NULL AND mapped.crm = this.key AND crmsync.is_import(this) THEN NULL
    WHEN crmsync.makes_its_values(to_regclass(coalesce(mapped.child ->> 'relation', this.source)), mapped.crm)
        THEN format('column %I, which is GENERATED ALWAYS,', mapped.crm) END;
COMMENT ON FUNCTION crmsync.not_writable(crmsync.link, crmsync.mapping) IS 'what the CRM side of a mapping is that nothing can be written to; NULL: it can';

-- Readers see it in a view, and need no right on the schema of the source.
CREATE FUNCTION crmsync.mapping_direction(this crmsync.link, mapped crmsync.mapping) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN crmsync.not_writable(this, mapped) IS NULL THEN coalesce(mapped.direction, this.direction) ELSE 'outbound' END;
COMMENT ON FUNCTION crmsync.mapping_direction(crmsync.link, crmsync.mapping) IS 'direction in which a mapping works';
