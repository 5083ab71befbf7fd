-- Mappings: set and taken back, one by one or all of a preset.

CREATE FUNCTION crmsync.map(
    link text, crm text, property text, direction text DEFAULT NULL, value_map jsonb DEFAULT NULL,
    fallback text DEFAULT NULL, inbound text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
    kind text := (SELECT t.kind FROM crmsync.target t WHERE t.name = this.target);
    mapped crmsync.mapping := ROW (this.id, property, crm, direction, value_map, fallback, inbound, options, NULL);
    other text;
BEGIN
    PERFORM crmsync.check_mapping_direction(this, mapped);
    IF crm LIKE '(%' OR inbound IS NOT NULL THEN
        PERFORM crmsync.check_may_run_as_owner(this);
    END IF;
    PERFORM crmsync.check_crm_side(this, crm);
    PERFORM crmsync.check_options('mapping', kind, options);
    PERFORM crmsync.check_value_map(value_map);
    IF kind = 'ldap' THEN
        PERFORM crmsync.check_directory_mapping(this, crm, property, value_map, fallback, inbound);
        other := (SELECT m.property FROM crmsync.mapping m
                  WHERE m.link = this.id AND m.crm = map.crm AND m.property <> map.property);
        IF other IS NOT NULL THEN
            RAISE EXCEPTION 'column "%" is already mapped to %', crm, other
                USING ERRCODE = 'duplicate_object', HINT = format('Call crmsync.unmap(%L, %L) first.', link, other);
        END IF;
    ELSE
        mapped.direction := coalesce(direction, CASE WHEN property IN ('@mailbox', '@none') THEN 'inbound' END);
        PERFORM crmsync.check_exchange_property(this, property, coalesce(mapped.direction, nullif(this.direction, 'both'), 'outbound'));
        PERFORM crmsync.check_choices(this.object, property, value_map);
        PERFORM crmsync.check_exchange_inbound(this, mapped);
        PERFORM crmsync.check_binary(to_regclass(this.source), crm, property);
        PERFORM crmsync.check_day(this, mapped);
        PERFORM crmsync.check_exchange_values(this, mapped) WHERE value_map IS NOT NULL;
        PERFORM crmsync.check_unaltered(property) WHERE value_map IS NOT NULL OR fallback IS NOT NULL OR inbound IS NOT NULL;
        PERFORM crmsync.check_unmapped(this, property, crm, NULL);
        PERFORM crmsync.check_field_conflict(this, crmsync.mapping_direction(this, mapped), options ->> 'conflict');
    END IF;
    INSERT INTO crmsync.mapping AS m VALUES (mapped.*)
    ON CONFLICT ON CONSTRAINT mapping_pkey DO UPDATE
    SET direction = excluded.direction, value_map = excluded.value_map, fallback = excluded.fallback,
        inbound = excluded.inbound, options = excluded.options;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.map(text, text, text, text, jsonb, text, text, jsonb) IS 'maps a column of the source, or an expression in parentheses over its row r, to a property; again with the same two: replaces the mapping';

CREATE FUNCTION crmsync.unmap(link text, property text, crm text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
BEGIN
    DELETE FROM crmsync.mapping m
    WHERE m.link = this.id AND m.property = unmap.property AND m.crm = coalesce(unmap.crm, m.crm) AND m.child IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'link "%" does not map property %', link, concat_ws(' to ', quote_ident(property), crm)
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'Mapped: ' || string_agg(m.property, ', ' ORDER BY m.property) || '.'
                                   FROM crmsync.mapping m WHERE m.link = this.id AND m.child IS NULL), 'It maps nothing.')
                         || CASE WHEN EXISTS (SELECT FROM crmsync.mapping m WHERE m.link = this.id AND m.property = unmap.property AND m.child IS NOT NULL)
                                 THEN ' crmsync.unmap_child is for child rows.' ELSE '' END;
    END IF;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.unmap(text, text, text) IS 'undoes map; crm NULL: all that the property is mapped to';

CREATE FUNCTION crmsync.map_preset(link text, columns jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
    source oid := crmsync.find_relation('source', this.source);
    stray text;
    field record;
    missing text[] := '{}';
BEGIN
    IF this.preset IS NULL THEN
        RAISE EXCEPTION 'link "%" has no preset', link
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Call crmsync.alter_link(%L, preset => ''nexj'') first.', link);
    ELSIF jsonb_typeof(columns) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'columns must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'For example {"first_name": "given", "full_name": "(r.given || '' '' || r.family)"}.';
    END IF;
    stray := (SELECT min(c) FROM jsonb_object_keys(columns) c
              WHERE c NOT IN (SELECT p.name FROM crmsync.presets p WHERE p.preset = this.preset
                              AND p.object = this.object AND p.kind = 'mapping'));
    IF stray IS NOT NULL THEN
        RAISE EXCEPTION 'the preset % has no field "%"', this.preset, stray
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = (SELECT 'Fields: ' || string_agg(p.name, ', ' ORDER BY p.name) || '.' FROM crmsync.presets p
                          WHERE p.preset = this.preset AND p.object = this.object AND p.kind = 'mapping');
    END IF;
    FOR field IN
        SELECT p.name, p.value AS property, columns ? p.name AS named, p.fallback,
               CASE WHEN columns ? p.name THEN columns ->> p.name ELSE p.name END AS crm
        FROM crmsync.presets p
        WHERE p.preset = this.preset AND p.object = this.object AND p.kind = 'mapping'
        ORDER BY p.name
    LOOP
        IF field.crm IS NULL THEN
            CONTINUE;
        ELSIF NOT field.named AND crmsync.column_type(source, field.crm) IS NULL THEN
            -- It may be mapped otherwise: to a child row, for one.
            CONTINUE WHEN EXISTS (SELECT FROM crmsync.mapping m WHERE m.link = this.id AND m.property = field.property);
            missing := missing || field.name;
        ELSE
            PERFORM crmsync.map(link, field.crm, field.property,
                                fallback => CASE WHEN field.crm NOT LIKE '(%'
                                                  AND crmsync.mapping_direction(this, ROW (this.id, field.property, field.crm, NULL, NULL, NULL, NULL, '{}', NULL)) <> 'outbound'
                                             THEN field.fallback END);
        END IF;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE NOTICE 'not mapped, for want of columns of these names: %', array_to_string(missing, ', ')
            USING HINT = 'The parameter columns names others: {"field": "column"}; {"field": null} leaves a field out.';
    END IF;
END;
$$;
COMMENT ON FUNCTION crmsync.map_preset(text, jsonb) IS 'maps the rows of the link''s preset; columns: {CRM field: column, or expression in parentheses} where the column is not called like the field';
