-- The sample CRM's contacts to Exchange: the 23 rows of the NexJ table, in whose mailboxes they belong,
-- and what must be watched so that a change anywhere is noticed. Variables: exchange_url,
-- exchange_user and exchange_secret ('file:NAME' below crmsync.secret_directory).
SELECT crmsync.create_target('exchange', 'ews', :'exchange_url', auth => 'basic',
                             username => :'exchange_user', secret => :'exchange_secret');

SELECT crmsync.create_link('contacts', target => 'exchange', object => 'contact', source => 'crm.person',
                           audience => 'crm.contact_audience', mailboxes => 'crm.outlook_user');

-- The person's own columns.
SELECT crmsync.map('contacts', '(concat_ws('' '', r.first_name, r.initials, r.last_name))', 'display_name');
SELECT crmsync.map('contacts', 'first_name', 'given_name');
SELECT crmsync.map('contacts', 'initials', 'middle_name');
SELECT crmsync.map('contacts', 'last_name', 'surname');
SELECT crmsync.map('contacts', 'position', 'job_title');
SELECT crmsync.map('contacts', 'birth_date', 'birthday');

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

-- The addresses as a whole.
SELECT crmsync.map('contacts',
                   format('(SELECT concat_ws('', '', a.street, concat_ws('' '', a.postal_code, a.city), a.state, a.country)
                            FROM crm.address a WHERE a.person_id = r.id AND a.kind = %L AND a.is_default)', kind),
                   kind || '_address')
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
