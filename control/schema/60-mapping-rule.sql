-- What a mapping may say: CRM columns and expressions on one side, properties of the target on the other.

CREATE VIEW crmsync.properties AS
SELECT p.name, p.objects, p.type, p.max_length, p.access, p.choices, p.ews, p.graph, p.description
FROM crmsync.property_list() p;
COMMENT ON VIEW crmsync.properties IS 'properties of Exchange objects; beside them x:NAME, a named property of your own; ldap: attributes of the directory, @dn, @key and @enabled';
COMMENT ON COLUMN crmsync.properties.name IS 'what map calls it';
COMMENT ON COLUMN crmsync.properties.objects IS 'objects that have it';
COMMENT ON COLUMN crmsync.properties.type IS 'form of its values';
COMMENT ON COLUMN crmsync.properties.max_length IS 'characters that Exchange accepts; of type binary: bytes, and more are not taken; NULL: no limit known';
COMMENT ON COLUMN crmsync.properties.access IS 'outbound, inbound or both';
COMMENT ON COLUMN crmsync.properties.choices IS 'its values, where they are fixed';
COMMENT ON COLUMN crmsync.properties.ews IS 'how EWS calls it';
COMMENT ON COLUMN crmsync.properties.graph IS 'how Graph calls it';
COMMENT ON COLUMN crmsync.properties.description IS 'what it is';

CREATE FUNCTION crmsync.check_exchange_property(this crmsync.link, property text, direction text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    access text;
BEGIN
    IF property IN ('@mailbox', '@none') THEN
        IF this.direction = 'outbound' THEN
            RAISE EXCEPTION 'property % is for inbound links', property
                USING ERRCODE = 'invalid_parameter_value', HINT = format('Link "%s" is %s.', this.name, this.direction);
        END IF;
        RETURN;
    ELSIF property LIKE 'x:%' THEN
        IF property !~ '^x:[[:alnum:]_.-]{1,100}$' THEN
            RAISE EXCEPTION 'invalid name of a named property: %', property
                USING ERRCODE = 'invalid_parameter_value', HINT = 'x:NAME, with letters, digits and the characters _ . -';
        END IF;
        RETURN;
    END IF;
    SELECT p.access INTO access FROM crmsync.property_list() p
    WHERE p.name = check_exchange_property.property AND this.object = ANY (p.objects);
    IF access IS NULL THEN
        RAISE EXCEPTION 'unknown property % of a %', coalesce(quote_ident(property), 'NULL'), this.object
            USING ERRCODE = 'undefined_object',
                  HINT = (SELECT 'Properties: ' || string_agg(p.name, ', ' ORDER BY p.name) || ', x:NAME.'
                          FROM crmsync.property_list() p WHERE this.object = ANY (p.objects));
    ELSIF direction IN ('outbound', 'both') AND access = 'inbound' THEN
        RAISE EXCEPTION 'property % cannot be written', property
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is inbound only; see the view crmsync.properties.';
    ELSIF direction IN ('inbound', 'both') AND access = 'outbound' THEN
        RAISE EXCEPTION 'property % cannot be read', property
            USING ERRCODE = 'invalid_parameter_value', HINT = 'It is outbound only; see the view crmsync.properties.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_exchange_property(crmsync.link, text, text) IS 'refuses properties that the object has not, or not in this direction';

CREATE FUNCTION crmsync.check_directory_property(property text, inbound text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF property = '@none' AND inbound IS NULL THEN
        RAISE EXCEPTION 'property @none needs inbound, the expression that new rows get'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF property IN ('@dn', '@key', '@enabled', '@none')
          OR property ~ E'^([a-zA-Z][a-zA-Z0-9-]*|[0-9]+(\\.[0-9]+)+)(;[a-zA-Z0-9-]+)*$' THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'invalid attribute %', coalesce(quote_ident(property), 'NULL')
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'The name of an LDAP attribute, or @dn, @key, @enabled, @none.';
END;
$$;
COMMENT ON FUNCTION crmsync.check_directory_property(text, text) IS 'refuses what cannot be the name of an LDAP attribute';

CREATE FUNCTION crmsync.check_value_map(value_map jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(value_map) <> 'object' OR EXISTS (
           SELECT FROM jsonb_each(CASE jsonb_typeof(value_map) WHEN 'object' THEN value_map ELSE '{}' END) e
           WHERE jsonb_typeof(e.value) NOT IN ('string', 'array')
              OR (jsonb_typeof(e.value) = 'array' AND (e.value = '[]'
                  OR jsonb_path_exists(e.value, '$[*] ? (@.type() != "string")')))) THEN
        RAISE EXCEPTION 'invalid value_map'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'For example {"open": "not_started", "done": ["completed", "deferred"]}: the first is written, all are read.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_value_map(jsonb) IS 'refuses what is not {CRM value: property value or array of them}';

-- Choices of a property are known, so a value that it can never have is found here.
CREATE FUNCTION crmsync.check_choices(object text, property text, value_map jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    choices text[] := (SELECT p.choices FROM crmsync.property_list() p
                       WHERE p.name = property AND object = ANY (p.objects));
    stray text;
BEGIN
    IF coalesce(cardinality(choices), 0) = 0 THEN
        RETURN;
    END IF;
    SELECT min(v #>> '{}') INTO stray
    FROM jsonb_each(value_map) e, jsonb_path_query(e.value, 'lax $[*]') v
    WHERE NOT v #>> '{}' = ANY (choices);
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'property % has no value "%"', property, stray
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Values: %s.', array_to_string(choices, ', '));
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_choices(text, text, jsonb) IS 'refuses values that the property cannot have';

CREATE FUNCTION crmsync.check_mapping_direction(this crmsync.link, mapped crmsync.mapping) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF mapped.direction NOT IN ('outbound', 'inbound', 'both') THEN
        RAISE EXCEPTION 'invalid direction "%"', mapped.direction
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Allowed: outbound, inbound, both.';
    ELSIF this.direction <> 'both' AND mapped.direction <> this.direction THEN
        RAISE EXCEPTION 'link "%" is % only', this.name, this.direction
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'A mapping goes no further than its link; leave direction out.';
    ELSIF (this.direction = 'inbound' OR mapped.direction IN ('inbound', 'both')) AND crmsync.not_writable(this, mapped) IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be written to', crmsync.not_writable(this, mapped)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = CASE WHEN mapped.crm LIKE '(%' THEN 'Name a column of the source; the parameter inbound says how its value is made.'
                              WHEN this.direction = 'both' THEN 'Name another column, or leave direction out: then the property is only sent.'
                              ELSE 'Name another column.' END;
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_mapping_direction(crmsync.link, crmsync.mapping) IS 'refuses a direction that the link or the CRM side of a mapping cannot have';

CREATE FUNCTION crmsync.notice_enabled(this crmsync.link) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF this.enabled THEN
        RAISE NOTICE 'link "%" is enabled: the change takes effect at the next crmsync.enable_link', this.name;
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.notice_enabled(crmsync.link) IS 'says when a change of an enabled link takes effect';

CREATE FUNCTION crmsync.check_crm_side(this crmsync.link, crm text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source oid := crmsync.find_relation('source', this.source);
BEGIN
    IF crm LIKE '(%)' THEN
        PERFORM crmsync.check_crm_expression(this.source, crm);
    ELSIF coalesce(crm, '') = '' OR crm LIKE '(%' THEN
        RAISE EXCEPTION 'crm must be a column or an expression in parentheses'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Columns: %s.', crmsync.column_list(source));
    ELSE
        PERFORM crmsync.check_column(source, crm);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_crm_side(crmsync.link, text) IS 'refuses what is neither a column of the source nor an expression over it';

CREATE FUNCTION crmsync.without_parameter(query text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN regexp_replace(query, E'\\$1(?![0-9])', 'NULL::text', 'g');
COMMENT ON FUNCTION crmsync.without_parameter(text) IS 'an expression or query over $1 as one that can be compiled into a view';

CREATE FUNCTION crmsync.target_type(relation oid, crm text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format_type(crmsync.column_type(relation, crm), -1);
COMMENT ON FUNCTION crmsync.target_type(oid, text) IS 'type that a value which comes in gets, for a column of the source or of a child table';

-- The same text that the import runs for each value, but for the parameter; property @none has none.
CREATE FUNCTION crmsync.inbound_query(relation oid, crm text, property text, inbound text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format(E'SELECT 1 AS one WHERE jsonb_build_array((%s\n)::%s) IS NOT NULL',
              CASE property WHEN '@none' THEN inbound ELSE crmsync.without_parameter(inbound) END,
              crmsync.target_type(relation, crm));
COMMENT ON FUNCTION crmsync.inbound_query(oid, text, text, text) IS 'query that compiles when the expression gives one value for the column';

CREATE FUNCTION crmsync.check_inbound(relation oid, crm text, property text, inbound text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    BEGIN
        PERFORM crmsync.check_expression(inbound);
    EXCEPTION WHEN syntax_error THEN
        RAISE EXCEPTION 'inbound is not a single SQL expression: %', inbound
            USING ERRCODE = 'syntax_error',
                  HINT = CASE property WHEN '@none' THEN 'It makes the value of new rows: ''new'', for one.'
                                       ELSE 'It makes the column''s value of $1, the property as text: upper($1), for one.' END;
    WHEN invalid_column_reference THEN
        RAISE EXCEPTION '% of inbound', sqlerrm
            USING ERRCODE = 'invalid_column_reference',
                  HINT = 'Put the name of the relation that it belongs to before it.';
    END;
    PERFORM crmsync.check_query(format('the expression %s', inbound), crmsync.inbound_query(relation, crm, property, inbound));
END;
$$;
COMMENT ON FUNCTION crmsync.check_inbound(oid, text, text, text) IS 'refuses what is not an expression over $1 that the column can hold';

-- A fallback is another property, or a constant in quotes.
CREATE FUNCTION crmsync.fallback_constant(fallback text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN fallback ~ '^''([^'']|'''')*''$' THEN replace(substr(fallback, 2, length(fallback) - 2), '''''', '''') END;
COMMENT ON FUNCTION crmsync.fallback_constant(text) IS 'the text that a fallback in quotes stands for; NULL: it is a property, or there is none';

CREATE FUNCTION crmsync.fallback_property(fallback text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN fallback NOT LIKE '''%' THEN fallback END;
COMMENT ON FUNCTION crmsync.fallback_property(text) IS 'the property that stands in for an absent one; NULL: it is a constant, or there is none';

CREATE FUNCTION crmsync.check_fallback(relation oid, crm text, fallback text, inbound text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF crmsync.fallback_constant(fallback) IS NOT NULL THEN
        -- With inbound it is the expression that makes it fit.
        PERFORM crmsync.check_query(format('the fallback %s', fallback),
                                    format('SELECT %s::%s AS value', fallback, crmsync.target_type(relation, crm)))
        WHERE inbound IS NULL;
    ELSIF fallback = '@none' OR fallback LIKE '%''%' THEN
        RAISE EXCEPTION 'invalid fallback %', fallback
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Another property, or a constant in quotes within the quotes: fallback => ''''''unknown'''''', for one.';
    ELSE
        PERFORM crmsync.check_directory_property(fallback, NULL);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_fallback(oid, text, text, text) IS 'refuses what is neither a property nor a constant that the column can hold';

CREATE FUNCTION crmsync.mapped_type(this crmsync.link, mapped crmsync.mapping) RETURNS oid
LANGUAGE sql SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN mapped.crm LIKE '(%' THEN crmsync.expression_type(this.source, mapped.crm)
            ELSE crmsync.column_type(to_regclass(coalesce(mapped.child ->> 'relation', this.source)), mapped.crm) END;
COMMENT ON FUNCTION crmsync.mapped_type(crmsync.link, crmsync.mapping) IS 'type of the CRM side of a mapping';

-- A constant of a domain would need the domain's check, which may call any function.
CREATE FUNCTION crmsync.check_crm_values(type oid, crm text, value_map jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT crmsync.check_query(format('the value_map of %s', crm),
                               format('SELECT v.value FROM (VALUES %s) AS v (value)',
                                      (SELECT string_agg(format('(%L::%s)', k, crmsync.type_name(type)), ', ') FROM jsonb_object_keys(value_map) k)))
    WHERE value_map <> '{}';
END;
COMMENT ON FUNCTION crmsync.check_crm_values(oid, text, jsonb) IS 'refuses a value_map with CRM values that are none of this type';

-- What goes out is looked up by the text that the value has, so that "yes" would never be met. Values of other
-- types than these have texts that are not what is cast to them.
CREATE FUNCTION crmsync.check_exchange_values(this crmsync.link, mapped crmsync.mapping) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    works text := crmsync.mapping_direction(this, mapped);
    type oid := crmsync.base_type(crmsync.mapped_type(this, mapped));
    stray record;
BEGIN
    IF (works = 'inbound' AND (mapped.inbound IS NOT NULL OR this.apply IS NOT NULL))
       OR NOT (type = ANY ('{boolean,int2,int4,int8,numeric,float4,float8,uuid,date,timestamp,timestamptz}'::regtype[])
               OR EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = type)) THEN
        RETURN;
    END IF;
    PERFORM crmsync.check_crm_values(type, mapped.crm, mapped.value_map);
    SELECT k.value, t.text INTO stray
    FROM jsonb_object_keys(mapped.value_map) AS k (value),
         LATERAL (SELECT CASE WHEN type = 'boolean'::regtype THEN k.value::boolean::text WHEN type = 'uuid'::regtype THEN k.value::uuid::text
                              WHEN crmsync.is_integer_type(type) THEN k.value::bigint::text END) AS t (text)
    WHERE k.value <> t.text ORDER BY 1 LIMIT 1;
    IF FOUND AND works <> 'inbound' THEN
        RAISE EXCEPTION 'the value_map of % has "%", which never goes out', mapped.crm, stray.value
            USING ERRCODE = 'invalid_parameter_value', HINT = format('It stands for "%s" as text.', stray.text);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_exchange_values(crmsync.link, crmsync.mapping) IS 'refuses a value_map of an Exchange link with CRM values that there cannot be';

-- One mapping of an import; at enable_link again, since the column may be another one by then.
CREATE FUNCTION crmsync.check_directory_mapping(this crmsync.link, crm text, property text, value_map jsonb, fallback text, inbound text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM crmsync.check_directory_property(property, inbound);
    IF inbound IS NOT NULL THEN
        PERFORM crmsync.check_inbound(to_regclass(this.source), crm, property, inbound);
    ELSE
        PERFORM crmsync.check_crm_values(crmsync.column_type(to_regclass(this.source), crm), crm, value_map);
    END IF;
    IF fallback IS NOT NULL THEN
        PERFORM crmsync.check_fallback(to_regclass(this.source), crm, fallback, inbound);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_directory_mapping(crmsync.link, text, text, jsonb, text, text) IS 'refuses a mapping that an import could not carry out';

-- What comes in goes into a column of the row itself; '@mailbox' and '@none' into that of new rows only.
CREATE FUNCTION crmsync.check_exchange_inbound(this crmsync.link, mapped crmsync.mapping) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation regclass := to_regclass(coalesce(mapped.child ->> 'relation', this.source));
    for_new_rows boolean := mapped.property IN ('@mailbox', '@none');
BEGIN
    IF crmsync.mapping_direction(this, mapped) = 'outbound' OR mapped.crm LIKE '(%' THEN
        IF mapped.fallback IS NOT NULL OR mapped.inbound IS NOT NULL OR for_new_rows THEN
            RAISE EXCEPTION '% is used inbound, and %',
                            CASE WHEN for_new_rows THEN 'property ' || mapped.property WHEN mapped.inbound IS NULL THEN 'fallback' ELSE 'inbound' END,
                            CASE WHEN this.direction = 'outbound' THEN format('link "%s" is outbound only', this.name)
                                 WHEN mapped.direction = 'outbound' THEN 'the mapping is outbound only'
                                 ELSE coalesce(crmsync.not_writable(this, mapped), 'an expression') || ' cannot be written to' END
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RETURN;
    ELSIF mapped.property = '@none' AND mapped.inbound IS NULL THEN
        RAISE EXCEPTION 'property @none needs inbound, the expression that new rows get'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF for_new_rows AND mapped.fallback IS NOT NULL THEN
        RAISE EXCEPTION 'property % is never absent, and needs no fallback', mapped.property
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF mapped.inbound IS NOT NULL THEN
        PERFORM crmsync.check_inbound(relation, mapped.crm, mapped.property, mapped.inbound);
    END IF;
    IF mapped.fallback LIKE '''%' THEN
        PERFORM crmsync.check_fallback(relation, mapped.crm, mapped.fallback, mapped.inbound);
    ELSIF mapped.fallback IS NOT NULL THEN
        PERFORM crmsync.check_exchange_property(this, mapped.fallback, 'inbound');
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_exchange_inbound(crmsync.link, crmsync.mapping) IS 'refuses what a mapping of an Exchange link cannot do inbound';

CREATE FUNCTION crmsync.check_binary(relation oid, crm text, property text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF crmsync.binary_limit(property) IS NOT NULL AND crm NOT LIKE '(%'
       AND crmsync.base_type(crmsync.column_type(relation, crm)) <> 'bytea'::regtype THEN
        RAISE EXCEPTION 'property % needs bytes, and column "%" has type %', property, crm,
                        format_type(crmsync.column_type(relation, crm), NULL)
            USING ERRCODE = 'datatype_mismatch', HINT = 'Name a column of type bytea, or an expression in parentheses that makes one.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_binary(oid, text, text) IS 'refuses a column that has no bytes for a property that needs them';

-- Midnight in Berlin is the day before in UTC.
CREATE FUNCTION crmsync.check_day(this crmsync.link, mapped crmsync.mapping) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type oid;
    said text := CASE WHEN mapped.crm LIKE '(%' THEN mapped.crm WHEN mapped.child IS NULL THEN format('r.%I', mapped.crm) ELSE quote_ident(mapped.crm) END;
BEGIN
    IF NOT EXISTS (SELECT FROM crmsync.property_list() p
                   WHERE p.name = mapped.property AND this.object = ANY (p.objects) AND p.type = 'date') THEN
        RETURN;
    END IF;
    type := crmsync.mapped_type(this, mapped);
    IF crmsync.base_type(type) = 'timestamptz'::regtype THEN
        RAISE EXCEPTION 'property % is a day, and % has type %', mapped.property,
                        CASE WHEN mapped.crm LIKE '(%' THEN 'the expression ' || mapped.crm ELSE format('column "%s"', mapped.crm) END, format_type(type, NULL)
            USING ERRCODE = 'datatype_mismatch',
                  HINT = format('Name a column of type date, or %s that says in which time zone the day is: ((%s AT TIME ZONE ''Europe/Berlin'')::date).',
                                CASE WHEN mapped.child IS NULL THEN 'an expression' ELSE 'a generated one' END, said);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_day(crmsync.link, crmsync.mapping) IS 'refuses what is another day in another time zone for a property that is a day';

CREATE FUNCTION crmsync.check_unaltered(property text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF crmsync.binary_limit(property) IS NOT NULL THEN
        RAISE EXCEPTION 'property % has no value_map, fallback or inbound', property
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Its bytes travel as they are.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_unaltered(text) IS 'refuses a property whose values can only travel as they are';

CREATE FUNCTION crmsync.check_unmapped(this crmsync.link, property text, crm text, child jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    other record;
BEGIN
    SELECT m.crm, m.child INTO other FROM crmsync.mapping m
    WHERE m.link = this.id AND m.property = check_unmapped.property AND m.property <> '@none'
      AND (m.child - 'order_by' IS DISTINCT FROM check_unmapped.child - 'order_by' OR (m.child IS NULL AND m.crm <> check_unmapped.crm));
    IF FOUND THEN
        RAISE EXCEPTION 'property % is already mapped to %', property, concat_ws('.', other.child ->> 'relation', other.crm)
            USING ERRCODE = 'duplicate_object',
                  HINT = CASE WHEN other.child IS NULL THEN format('Call crmsync.unmap(%L, %L) first.', this.name, property)
                              ELSE format('Call crmsync.unmap_child(%L, %L) first.', this.name, other.child ->> 'relation') END;
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_unmapped(crmsync.link, text, text, jsonb) IS 'refuses a property that is mapped to something else';

-- A field that goes one way has nothing to decide.
CREATE FUNCTION crmsync.check_field_conflict(this crmsync.link, works text, conflict text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF conflict IS NOT NULL AND works <> 'both' THEN
        RAISE EXCEPTION 'option "conflict" is for mappings of direction both'
            USING ERRCODE = 'invalid_parameter_value', HINT = format('This one is %s.', works);
    ELSIF conflict = 'newest_wins' THEN
        this.conflict := conflict;
        PERFORM crmsync.check_modified_column(this);
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.check_field_conflict(crmsync.link, text, text) IS 'refuses an option conflict of a mapping that has none to decide, or that needs what the link does not say';
