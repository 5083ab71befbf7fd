-- The sample CRM's contacts to Exchange as NexJ CRM sends them (the preset nexj, 23 fields), in whose
-- mailboxes they belong, and what must be watched so that a change anywhere is noticed. Variables:
-- exchange_url, exchange_user and exchange_secret ('file:NAME' below crmsync.secret_directory).
SELECT crmsync.create_target('exchange', 'ews', :'exchange_url', auth => 'basic',
                             username => :'exchange_user', secret => :'exchange_secret');

SELECT crmsync.create_link('contacts', target => 'exchange', object => 'contact', source => 'crm.person',
                           audience => 'crm.contact_audience', mailboxes => 'crm.outlook_user', preset => 'nexj');

-- The default number of each kind, and the default business and home address: child rows, which are
-- watched by themselves.
SELECT crmsync.map_child('contacts', 'crm.telecom', 'person_id', jsonb_build_object('value', property),
                         fixed => jsonb_build_object('kind', kind, 'is_default', true))
FROM (VALUES ('business', 'business_phone'),
             ('home', 'home_phone'),
             ('mobile', 'mobile_phone'),
             ('fax', 'business_fax'),
             ('email', 'email_1')) number (kind, property);
SELECT crmsync.map_child('contacts', 'crm.address', 'person_id',
                         jsonb_build_object('street', kind || '_street', 'city', kind || '_city', 'state', kind || '_state',
                                            'postal_code', kind || '_postal_code', 'country', kind || '_country'),
                         fixed => jsonb_build_object('kind', kind, 'is_default', true))
FROM (VALUES ('business'), ('home')) address (kind);

-- The rest of the preset's rows: the person's own columns, where the preset knows them by another name with
-- theirs, and the name and the addresses as a whole.
SELECT crmsync.map_preset('contacts',
    jsonb_build_object('birthday', 'birth_date', 'full_name', '(concat_ws('' '', r.first_name, r.initials, r.last_name))')
    || jsonb_object_agg(kind || '_address',
                        format('(SELECT concat_ws('', '', a.street, concat_ws('' '', a.postal_code, a.city), a.state, a.country)
                                 FROM crm.address a WHERE a.person_id = r.id AND a.kind = %L AND a.is_default)', kind)))
FROM (VALUES ('business'), ('home')) address (kind);

-- Which records a change of another table concerns: a column that holds the person's key, or a query.
SELECT crmsync.watch('contacts', 'crm.coverage', 'person_id');
SELECT crmsync.watch('contacts', 'crm.personal_list', 'person_id');
SELECT crmsync.watch('contacts', 'crm.group_member', 'group_id',
                     lookup => 'SELECT p.id FROM crm.person p
                                WHERE p.view_security = ''group'' AND p.view_group_id = $1::bigint');
SELECT crmsync.watch('contacts', 'crm.app_user', 'id',
                     lookup => 'SELECT c.person_id FROM crm.coverage c WHERE c.user_id = $1::bigint
                                UNION
                                SELECT l.person_id FROM crm.personal_list l WHERE l.user_id = $1::bigint');

SELECT crmsync.enable_link('contacts');
