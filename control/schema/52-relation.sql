-- CRM relations as the configuration names them, and their columns.

CREATE FUNCTION crmsync.relation_name(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
END;
COMMENT ON FUNCTION crmsync.relation_name(oid) IS 'qualified and quoted name, as the configuration stores it';

CREATE FUNCTION crmsync.column_list(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT string_agg(a.attname::text, ', ' ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;
END;
COMMENT ON FUNCTION crmsync.column_list(oid) IS 'the columns of a relation, for hints';

CREATE FUNCTION crmsync.check_column(relation oid, column_name text) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type oid := crmsync.column_type(relation, column_name);
BEGIN
    IF type IS NULL THEN
        RAISE EXCEPTION 'column "%" of relation % does not exist', column_name, crmsync.relation_name(relation)
            USING ERRCODE = 'undefined_column',
                  HINT = format('Columns: %s.', crmsync.column_list(relation));
    END IF;
    RETURN type;
END;
$$;
COMMENT ON FUNCTION crmsync.check_column(oid, text) IS 'type of a column that must exist';

CREATE FUNCTION crmsync.check_relation(what text, relation oid, kinds "char"[]) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found pg_class;
BEGIN
    SELECT c.* INTO found FROM pg_class c WHERE c.oid = relation;
    IF found.oid IS NULL THEN
        RAISE EXCEPTION 'the % does not exist', what USING ERRCODE = 'undefined_table';
    ELSIF NOT found.relkind = ANY (kinds) THEN
        RAISE EXCEPTION '% cannot be the %', crmsync.relation_name(relation), what
            USING ERRCODE = 'wrong_object_type',
                  HINT = CASE WHEN 'v' = ANY (kinds) THEN 'Use a table, a partitioned table or a view.'
                              ELSE 'Use a table or a partitioned table.' END;
    ELSIF found.relpersistence = 't' THEN
        RAISE EXCEPTION '% is temporary and cannot be the %', quote_ident(found.relname), what
            USING ERRCODE = 'wrong_object_type', HINT = 'The worker cannot see temporary relations.';
    ELSIF found.relnamespace IN ('pg_catalog'::regnamespace, 'crmsync'::regnamespace, 'information_schema'::regnamespace) THEN
        RAISE EXCEPTION '% cannot be the %', crmsync.relation_name(relation), what
            USING ERRCODE = 'wrong_object_type', HINT = 'Use a relation of the CRM.';
    END IF;
    RETURN crmsync.relation_name(relation);
END;
$$;
COMMENT ON FUNCTION crmsync.check_relation(text, oid, "char"[]) IS 'name of a relation that must be of one of these kinds';

CREATE FUNCTION crmsync.is_key_type(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT t.typtype = 'e' OR t.oid = ANY ('{int2,int4,int8,uuid,text,varchar,bpchar}'::regtype[])
    FROM pg_type t WHERE t.oid = crmsync.base_type(type);
END;
COMMENT ON FUNCTION crmsync.is_key_type(oid) IS 'whether a column of this type can be a key';

CREATE FUNCTION crmsync.is_integer_type(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN crmsync.base_type(type) = ANY ('{int2,int4,int8}'::regtype[]);
COMMENT ON FUNCTION crmsync.is_integer_type(oid) IS 'whether values of this type are integers of whichever width';

CREATE FUNCTION crmsync.is_text_type(type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT t.typcategory = 'S' FROM pg_type t WHERE t.oid = crmsync.base_type(type);
END;
COMMENT ON FUNCTION crmsync.is_text_type(oid) IS 'whether values of this type are texts: text, varchar, char, name, citext';

-- Records are compared as text in the worker and by their type in queries, and the two must agree.
CREATE FUNCTION crmsync.holds_keys(type oid, key_type oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN crmsync.base_type(type) = crmsync.base_type(key_type)
    OR (crmsync.is_integer_type(type) AND crmsync.is_integer_type(key_type))
    OR (crmsync.base_type(type) = ANY ('{text,varchar,bpchar,name}'::regtype[]) AND crmsync.is_text_type(key_type));
COMMENT ON FUNCTION crmsync.holds_keys(oid, oid) IS 'whether a column of the first type can hold keys of the second: the same type, two integers, or two texts';

-- A typmod would cut values off ('character' is character(1)), so the name is one without.
CREATE FUNCTION crmsync.type_name(type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format_type(crmsync.base_type(type), -1);
COMMENT ON FUNCTION crmsync.type_name(oid) IS 'name of a type to cast to, without a length';

CREATE FUNCTION crmsync.find_key(source oid, key text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found text := key;
    type oid;
BEGIN
    IF found IS NULL THEN
        SELECT a.attname INTO found
        FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = source AND i.indisprimary AND i.indnkeyatts = 1;
        IF found IS NULL THEN
            RAISE EXCEPTION 'source % has no primary key of one column', crmsync.relation_name(source)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Name a column that identifies its rows with the parameter key.';
        END IF;
    END IF;
    type := crmsync.check_column(source, found);
    IF NOT crmsync.is_key_type(type) THEN
        RAISE EXCEPTION 'column "%" of type % cannot be a key', found, format_type(type, NULL)
            USING ERRCODE = 'datatype_mismatch',
                  HINT = 'Allowed types: smallint, integer, bigint, uuid, text, varchar, char, enums.';
    END IF;
    IF (SELECT c.relkind FROM pg_class c WHERE c.oid = source) = 'r' AND NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = source AND i.indisunique AND i.indisvalid AND i.indimmediate
              AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = found) THEN
        RAISE EXCEPTION 'column "%" of % is not unique', found, crmsync.relation_name(source)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Create a unique index on it, or name another column with the parameter key.';
    END IF;
    RETURN found;
END;
$$;
COMMENT ON FUNCTION crmsync.find_key(oid, text) IS 'the key column of a source: the one named, else the primary key; refuses what cannot be one';
