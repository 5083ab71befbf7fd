-- Relations whose changes concern records of another one: the audience's, memberships, and the like.

CREATE FUNCTION crmsync.lookup_without_parameter(lookup text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN format(E'SELECT ARRAY(%s\n) AS keys', crmsync.without_parameter(lookup));
COMMENT ON FUNCTION crmsync.lookup_without_parameter(text) IS 'a lookup as a query that can be compiled into a view';

CREATE FUNCTION crmsync.check_lookup(lookup text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF lookup !~ E'\\$1(?![0-9])' THEN
        RAISE EXCEPTION 'a lookup must use $1, the value of the watched column as text'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'For example SELECT id FROM crm.person WHERE company = $1::integer.';
    END IF;
    PERFORM crmsync.check_query('the lookup', crmsync.lookup_without_parameter(lookup));
END;
$$;
COMMENT ON FUNCTION crmsync.check_lookup(text) IS 'refuses what is not a query of one column over $1';

CREATE FUNCTION crmsync.check_watched(this crmsync.link, relation oid, column_name text, lookup text, columns text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type oid := crmsync.check_column(relation, column_name);
    source oid := crmsync.find_relation('source', this.source);
    key_type oid := crmsync.check_column(source, this.key);
BEGIN
    IF NOT crmsync.is_key_type(type) THEN
        RAISE EXCEPTION 'column "%" has a type that no key has', column_name
            USING ERRCODE = 'datatype_mismatch',
                  HINT = 'Allowed types: smallint, integer, bigint, uuid, text, varchar, char, enums.';
    ELSIF lookup IS NULL AND NOT crmsync.holds_keys(type, key_type) THEN
        RAISE EXCEPTION 'column "%" of % has type %, but the key of % has type %', column_name, crmsync.relation_name(relation),
                        format_type(type, NULL), crmsync.relation_name(source), format_type(key_type, NULL)
            USING ERRCODE = 'datatype_mismatch',
                  HINT = format('Name the column that holds keys, or give lookup, a query that returns them: SELECT $1::%s, for one.', crmsync.type_name(key_type));
    END IF;
    PERFORM crmsync.check_column(relation, c) FROM unnest(columns) c;
    PERFORM crmsync.check_lookup(lookup) WHERE lookup IS NOT NULL;
END;
$$;
COMMENT ON FUNCTION crmsync.check_watched(crmsync.link, oid, text, text, text[]) IS 'refuses what does not lead from a row to records of the link';

CREATE FUNCTION crmsync.watch(
    link text, relation regclass, column_name text, lookup text DEFAULT NULL, columns text[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
BEGIN
    IF crmsync.is_import(this) THEN
        RAISE EXCEPTION 'link "%" is inbound only and watches nothing', link USING ERRCODE = 'invalid_parameter_value';
    ELSIF relation IS NULL THEN
        RAISE EXCEPTION 'watch needs a relation' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM crmsync.check_relation('watched relation', relation, '{r,p}');
    PERFORM crmsync.check_may_run_as_owner(this) WHERE lookup IS NOT NULL;
    PERFORM crmsync.check_watched(this, relation, column_name, lookup, columns);
    INSERT INTO crmsync.watched AS w (link, relation, column_name, lookup, columns)
    VALUES (this.id, crmsync.relation_name(watch.relation), watch.column_name, watch.lookup, watch.columns)
    ON CONFLICT ON CONSTRAINT watched_pkey DO UPDATE SET lookup = excluded.lookup, columns = excluded.columns;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.watch(text, regclass, text, text, text[]) IS 'a change of the relation names the records to look at: column_name holds their key, or lookup is a query that returns keys for $1, the column as text; columns: what counts beside what crmsync finds by itself';

CREATE FUNCTION crmsync.unwatch(link text, relation text, column_name text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
    name text := coalesce(crmsync.relation_name(to_regclass(unwatch.relation)), unwatch.relation);
BEGIN
    DELETE FROM crmsync.watched w
    WHERE w.link = this.id AND w.relation = name
      AND w.column_name = coalesce(unwatch.column_name, w.column_name);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'link "%" does not watch %', link, concat_ws(' by ', name, column_name)
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'Watched: ' || string_agg(format('%s by %s', w.relation, w.column_name), ', ') || '.'
                                   FROM crmsync.watched w WHERE w.link = this.id), 'It watches nothing.');
    END IF;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.unwatch(text, text, text) IS 'undoes watch, also of a relation that is gone; column_name NULL: for all columns of the relation';
