\echo Use "CREATE EXTENSION crmsync" to load this file. \quit

-- Fails when somebody has made a schema of this name before: what they left in it, or may put there
-- as its owner, would be called with the rights of the extension's owner.
CREATE SCHEMA crmsync;
COMMENT ON SCHEMA crmsync IS 'keeps the people of a CRM in step with Microsoft Exchange and LDAP servers; start with the views crmsync.status and crmsync.alerts';
