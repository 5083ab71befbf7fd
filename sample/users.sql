-- Users and their groups from LDAP into the sample CRM. Variables: ldap_url, ldap_user, ldap_secret
-- ('file:NAME' below crmsync.secret_directory) and ldap_base. map_group and enable_link are to follow.
SELECT crmsync.create_target('directory', 'ldap', :'ldap_url', auth => 'simple',
                             username => :'ldap_user', secret => :'ldap_secret');

SELECT crmsync.create_link('users', target => 'directory', object => 'user', source => 'crm.app_user',
                           direction => 'inbound', match_on => '{uid}',
                           options => jsonb_build_object(
                               'base', :'ldap_base',
                               'filter', '(objectClass=inetOrgPerson)',
                               'memberships', jsonb_build_object('table', 'crm.group_member',
                                                                 'user', 'user_id', 'group', 'group_id')));

SELECT crmsync.map('users', 'login', 'uid');
SELECT crmsync.map('users', 'first_name', 'givenName');
SELECT crmsync.map('users', 'last_name', 'sn');
SELECT crmsync.map('users', 'email', 'mail');
SELECT crmsync.map('users', 'phone', 'telephoneNumber');
SELECT crmsync.map('users', 'title', 'title');
SELECT crmsync.map('users', 'department', 'ou');
SELECT crmsync.map('users', 'is_active', '@enabled');
