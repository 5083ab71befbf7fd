-- Which groups of a directory are which groups of the CRM.

-- The same text that the import runs for each group.
CREATE FUNCTION crmsync.group_value(this crmsync.link, crm_group text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('%s::%s', CASE WHEN crm_group LIKE '(%)' THEN format(E'(%s\n)', crm_group) ELSE quote_literal(crm_group) END,
              crmsync.target_type(to_regclass((this).options #>> '{memberships,table}'), (this).options #>> '{memberships,group}'));
COMMENT ON FUNCTION crmsync.group_value(crmsync.link, text) IS 'SQL for the value of the group column that a CRM group of map_group stands for';

CREATE FUNCTION crmsync.read_group(this crmsync.link, crm_group text)
RETURNS TABLE (object oid, class text, column_name text, direct boolean, as_caller boolean, times integer)
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT q.* FROM crmsync.check_query(format('the group %s', crm_group),
                                        format('SELECT %s AS value', crmsync.group_value(this, crm_group))) q;
END;
COMMENT ON FUNCTION crmsync.read_group(crmsync.link, text) IS 'what a CRM group of map_group reads; refuses one that the group column cannot hold';

CREATE FUNCTION crmsync.map_group(link text, ldap_group text, crm_group text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
BEGIN
    IF NOT this.options ? 'memberships' THEN
        RAISE EXCEPTION 'link "%" imports no memberships', link
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Set the option memberships of an LDAP link first: {"table": relation, "user": column, "group": column}.';
    ELSIF coalesce(ldap_group, '') = '' OR coalesce(crm_group, '') = '' THEN
        RAISE EXCEPTION 'map_group needs a group on both sides' USING ERRCODE = 'invalid_parameter_value';
    ELSIF crm_group LIKE '(%)' THEN
        PERFORM crmsync.check_may_run_as_owner(this);
        PERFORM crmsync.check_expression(crm_group);
    ELSIF crm_group LIKE '(%' THEN
        RAISE EXCEPTION 'crm_group must be a value of the group column or an expression in parentheses'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Is the parenthesis part of the value? Then: (%L).', crm_group);
    END IF;
    PERFORM crmsync.membership_relation(this);
    PERFORM crmsync.read_group(this, crm_group);
    INSERT INTO crmsync.group_mapping VALUES (this.id, map_group.ldap_group, map_group.crm_group)
    ON CONFLICT DO NOTHING;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.map_group(text, text, text) IS 'members of a group of the directory become members of a CRM group: a value of the group column, or an expression in parentheses';

CREATE FUNCTION crmsync.unmap_group(link text, ldap_group text, crm_group text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this crmsync.link := crmsync.find_link(link, 'admin');
BEGIN
    DELETE FROM crmsync.group_mapping g
    WHERE g.link = this.id AND g.ldap_group = unmap_group.ldap_group
      AND g.crm_group = coalesce(unmap_group.crm_group, g.crm_group);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'link "%" does not map group "%"', link, ldap_group
            USING ERRCODE = 'undefined_object',
                  HINT = coalesce((SELECT 'Mapped: ' || string_agg(DISTINCT g.ldap_group, '; ') || '.'
                                   FROM crmsync.group_mapping g WHERE g.link = this.id), 'It maps no group.');
    END IF;
    PERFORM crmsync.notice_enabled(this);
END;
$$;
COMMENT ON FUNCTION crmsync.unmap_group(text, text, text) IS 'undoes map_group; crm_group NULL: all groups that it is mapped to';
