-- Policies and presets as data: what each kind of object may be told, and what holds without a word.

CREATE VIEW crmsync.policy AS
SELECT v.kind, v.object, v.policy, v.default_value, v.supported, v.planned
FROM (VALUES
    ('ews',  'contact', 'direction',        'outbound',    '{outbound,inbound,both}'::text[], '{}'::text[]),
    ('ews',  'contact', 'conflict',         'crm_wins',    '{crm_wins,target_wins,newest_wins}', '{}'),
    ('ews',  'contact', 'write_fields',     'changed',     '{changed,all}',                  '{}'),
    ('ews',  'contact', 'on_crm_delete',    'delete',      '{delete,keep}',                  '{}'),
    ('ews',  'contact', 'on_target_delete', 'ignore',      '{ignore,recreate,unlink,delete}', '{}'),
    ('ews',  'contact', 'on_audience_loss', 'delete',      '{delete,unlink}',                '{}'),
    ('ews',  'contact', 'on_ambiguous',     'park',        '{park,oldest}',                  '{}'),
    ('ldap', 'user',    'direction',        'inbound',     '{inbound}',                      '{}'),
    ('ldap', 'user',    'conflict',         'target_wins', '{target_wins}',                  '{crm_wins,newest_wins}'),
    ('ldap', 'user',    'write_fields',     'changed',     '{changed}',                      '{all}'),
    ('ldap', 'user',    'on_crm_delete',    'keep',        '{keep}',                         '{}'),
    ('ldap', 'user',    'on_target_delete', 'disable',     '{disable,ignore}',               '{delete}'),
    ('ldap', 'user',    'on_audience_loss', 'unlink',      '{unlink}',                       '{}'),
    ('ldap', 'user',    'on_ambiguous',     'park',        '{park}',                         '{oldest}')
) AS v (kind, object, policy, default_value, supported, planned);
COMMENT ON VIEW crmsync.policy IS 'policies of links: their defaults and the values they may have';
COMMENT ON COLUMN crmsync.policy.kind IS 'kind of target';
COMMENT ON COLUMN crmsync.policy.object IS 'object of the link';
COMMENT ON COLUMN crmsync.policy.policy IS 'parameter of create_link';
COMMENT ON COLUMN crmsync.policy.default_value IS 'what holds when it is NULL and no preset says otherwise';
COMMENT ON COLUMN crmsync.policy.supported IS 'values it may have';
COMMENT ON COLUMN crmsync.policy.planned IS 'values refused as not supported yet';

CREATE VIEW crmsync.presets AS
SELECT v.preset, v.object, v.kind, v.name, v.value, v.fixed, v.direction, v.fallback
FROM (VALUES
    ('nexj', 'contact', 'policy',  'direction',             'outbound',             true, NULL, NULL),
    ('nexj', 'contact', 'policy',  'conflict',              'crm_wins',             false, NULL, NULL),
    ('nexj', 'contact', 'policy',  'write_fields',          'changed',              false, NULL, NULL),
    ('nexj', 'contact', 'policy',  'on_crm_delete',         'delete',               false, NULL, NULL),
    ('nexj', 'contact', 'policy',  'on_target_delete',      'ignore',               false, NULL, NULL),
    ('nexj', 'contact', 'policy',  'on_audience_loss',      'delete',               false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'full_name',             'display_name',         false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'first_name',            'given_name',           false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'initials',              'middle_name',          false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'last_name',             'surname',              false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'position',              'job_title',            false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_phone',        'business_phone',       false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'mobile_phone',          'mobile_phone',         false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'email',                 'email_1',              false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_address',      'business_address',     false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_city',         'business_city',        false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_country',      'business_country',     false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_postal_code',  'business_postal_code', false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_state',        'business_state',       false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_street',       'business_street',      false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_address',          'home_address',         false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_city',             'home_city',            false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_country',          'home_country',         false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_postal_code',      'home_postal_code',     false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_state',            'home_state',           false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_street',           'home_street',          false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'birthday',              'birthday',             false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'home_phone',            'home_phone',           false, NULL, NULL),
    ('nexj', 'contact', 'mapping', 'business_fax',          'business_fax',         false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'direction',             'both',                  false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'conflict',              'crm_wins',              false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'write_fields',          'all',                   false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'on_crm_delete',         'keep',                  false, 'outbound', NULL),
    ('orocrm', 'contact', 'policy',  'on_crm_delete',         'delete',                false, 'both', NULL),
    ('orocrm', 'contact', 'policy',  'on_crm_delete',         'delete',                false, 'inbound', NULL),
    ('orocrm', 'contact', 'policy',  'on_target_delete',      'recreate',              false, 'outbound', NULL),
    ('orocrm', 'contact', 'policy',  'on_target_delete',      'recreate',              false, 'both', NULL),
    ('orocrm', 'contact', 'policy',  'on_target_delete',      'ignore',                false, 'inbound', NULL),
    ('orocrm', 'contact', 'policy',  'on_ambiguous',          'oldest',                false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'match_on',              '{given_name,surname,gender,birthday}', false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'outbound_interval',     '120 s',                 false, NULL, NULL),
    ('orocrm', 'contact', 'policy',  'inbound_interval',      '30 s',                  false, NULL, NULL),
    ('orocrm', 'contact', 'option',  'key_property',          'OroCRM_id',             false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'first_name',            'given_name',            false, NULL, 'surname'),
    ('orocrm', 'contact', 'mapping', 'middle_name',           'middle_name',           false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'last_name',             'surname',               false, NULL, 'given_name'),
    ('orocrm', 'contact', 'mapping', 'name_suffix',           'suffix',                false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'description',           'notes',                 false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'email',                 'email_1',               false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'email_2',               'email_2',               false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'email_3',               'email_3',               false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'phone',                 'primary_phone',         false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'job_title',             'job_title',             false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'birthday',              'birthday',              false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'gender',                'gender',                false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'fax',                   'business_fax',          false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'billing_street',        'business_street',       false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'billing_city',          'business_city',         false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'billing_state',         'business_state',        false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'billing_postal_code',   'business_postal_code',  false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'billing_country',       'business_country',      false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'shipping_street',       'home_street',           false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'shipping_city',         'home_city',             false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'shipping_state',        'home_state',            false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'shipping_postal_code',  'home_postal_code',      false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'shipping_country',      'home_country',          false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'other_street',          'other_street',          false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'other_city',            'other_city',            false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'other_state',           'other_state',           false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'other_postal_code',     'other_postal_code',     false, NULL, NULL),
    ('orocrm', 'contact', 'mapping', 'other_country',         'other_country',         false, NULL, NULL)
) AS v (preset, object, kind, name, value, fixed, direction, fallback);
COMMENT ON VIEW crmsync.presets IS 'what presets set: policies by create_link, mappings by map_preset';
COMMENT ON COLUMN crmsync.presets.preset IS 'name of the preset';
COMMENT ON COLUMN crmsync.presets.object IS 'object of the link that it is for';
COMMENT ON COLUMN crmsync.presets.kind IS 'policy, option or mapping';
COMMENT ON COLUMN crmsync.presets.name IS 'the policy; mapping: the CRM field, which is also the column that map_preset takes unless told otherwise';
COMMENT ON COLUMN crmsync.presets.value IS 'value of the policy; mapping: the property';
COMMENT ON COLUMN crmsync.presets.fixed IS 'true: a link with this preset cannot have another value';
COMMENT ON COLUMN crmsync.presets.direction IS 'policy: only of links of this direction; NULL: of all';
COMMENT ON COLUMN crmsync.presets.fallback IS 'mapping: what stands in, where it comes in, when the property is absent';

CREATE FUNCTION crmsync.check_preset(preset text, object text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF preset IS NULL OR EXISTS (SELECT FROM crmsync.presets p
                                 WHERE p.preset = check_preset.preset AND p.object = check_preset.object) THEN
        RETURN;
    ELSIF preset IN ('nexj', 'orocrm', 'imagicle') THEN
        PERFORM crmsync.not_supported(format('the preset %s for objects of kind %s', preset, object));
    END IF;
    RAISE EXCEPTION 'unknown preset "%"', preset
        USING ERRCODE = 'invalid_parameter_value',
              HINT = (SELECT 'Presets: ' || string_agg(DISTINCT p.preset, ', ') || '.' FROM crmsync.presets p);
END;
$$;
COMMENT ON FUNCTION crmsync.check_preset(text, text) IS 'refuses a preset that does not exist for this object';

-- What a link of that direction gets from its preset, if it has one.
CREATE FUNCTION crmsync.preset_value(preset text, object text, policy text, direction text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT p.value FROM crmsync.presets p
    WHERE p.preset = preset_value.preset AND p.object = preset_value.object AND p.kind = 'policy'
      AND p.name = preset_value.policy AND coalesce(p.direction = preset_value.direction, true);
END;
COMMENT ON FUNCTION crmsync.preset_value(text, text, text, text) IS 'the value that a preset gives a policy, or another parameter; NULL: none';

CREATE FUNCTION crmsync.preset_options(preset text, object text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT coalesce(jsonb_object_agg(p.name, p.value), '{}') FROM crmsync.presets p
    WHERE p.preset = preset_options.preset AND p.object = preset_options.object AND p.kind = 'option';
END;
COMMENT ON FUNCTION crmsync.preset_options(text, text) IS 'the options that links get from a preset, unless theirs say otherwise';

-- The value a policy gets: what is asked for, else the preset's, else the default.
CREATE FUNCTION crmsync.policy_value(kind text, object text, preset text, policy text, value text, direction text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule record;
    from_preset record;
BEGIN
    SELECT p.* INTO rule FROM crmsync.policy p
    WHERE p.kind = policy_value.kind AND p.object = policy_value.object AND p.policy = policy_value.policy;
    SELECT p.value, p.fixed INTO from_preset FROM crmsync.presets p
    WHERE p.preset = policy_value.preset AND p.object = policy_value.object
      AND p.kind = 'policy' AND p.name = policy_value.policy AND coalesce(p.direction = policy_value.direction, true);
    IF value IS NULL THEN
        RETURN coalesce(from_preset.value, rule.default_value);
    ELSIF from_preset.fixed AND value = ANY (rule.supported || rule.planned) AND value <> from_preset.value THEN
        RAISE EXCEPTION 'the preset % allows only % %', preset, policy, from_preset.value
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Leave %s out, or the preset.', policy);
    ELSIF value = ANY (rule.planned) THEN
        PERFORM crmsync.not_supported(format('%s %s for %s %ss', policy, value, kind, object));
    ELSIF NOT value = ANY (rule.supported) THEN
        RAISE EXCEPTION 'invalid % "%"', policy, value
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Allowed: %s.', array_to_string(rule.supported, ', '));
    END IF;
    RETURN value;
END;
$$;
COMMENT ON FUNCTION crmsync.policy_value(text, text, text, text, text, text) IS 'the value that a policy of a link gets; refuses one that it cannot have';
