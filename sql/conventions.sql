-- What holds for every object of the extension: comments, pinned search_path, no right for PUBLIC.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION crmsync;

CREATE TEMPORARY VIEW member AS
SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'crmsync';

-- Functions without a pinned search_path: only those in C that look nothing up by name.
SELECT p.oid::regprocedure AS function
FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
WHERE p.prokind = 'f'
  AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
ORDER BY 1;

-- Functions that PUBLIC may execute: none.
SELECT p.oid::regprocedure AS function
FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid,
     aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE a.grantee = 0 ORDER BY 1;

-- Relations and schemas that PUBLIC may use: none.
SELECT c.oid::regclass AS relation, a.privilege_type
FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid,
     aclexplode(c.relacl) a
WHERE a.grantee = 0 ORDER BY 1;
SELECT nspname FROM pg_namespace n, aclexplode(n.nspacl) a WHERE nspname = 'crmsync' AND a.grantee = 0;

-- Functions that run with their owner's rights are what grant_role hands out, and nothing else.
SELECT p.oid::regprocedure AS "security definer, not handed out"
FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
WHERE p.prosecdef AND p.oid::regprocedure::text NOT IN (SELECT object FROM crmsync.level_object)
ORDER BY 1;
-- What is handed out and writes, checks who asks.
SELECT p.oid::regprocedure AS "asks nobody"
FROM pg_proc p JOIN crmsync.level_object o ON o.kind = 'FUNCTION' AND o.object = p.oid::regprocedure::text
WHERE p.prosecdef AND p.prosrc !~ 'crmsync\.(require|find_link|find_target)\(' AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')
ORDER BY 1;
-- Every name of the role matrix exists.
SELECT level, kind, count(*) FROM crmsync.level_object GROUP BY 1, 2 ORDER BY 1, 2;

-- Objects without a comment: none.
SELECT pg_describe_object(m.classid, m.objid, 0) AS "without comment"
FROM member m
LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
WHERE obj_description(m.objid, m.classid::regclass::name) IS NULL
  AND (m.classid IN ('pg_proc'::regclass, 'pg_namespace'::regclass) OR c.relkind IN ('r', 'v'))
ORDER BY 1;
SELECT c.relname, a.attname AS "column without comment"
FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind IN ('r', 'v')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE col_description(c.oid, a.attnum) IS NULL ORDER BY 1, a.attnum;

-- Every table has a primary key, but for the logs, which nobody updates.
SELECT c.relname FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind = 'r'
WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) ORDER BY 1;
-- Mailboxes go by the thousand with their link: what goes with one of them is found by an index.
SELECT f.conrelid::regclass FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = 'crmsync.mailbox'::regclass
AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indkey[0] = f.conkey[1] AND i.indpred IS NULL) ORDER BY 1;
-- The change logs have no index and no TOAST table.
SELECT c.relname, c.reltoastrelid = 0 AS no_toast, NOT c.relhasindex AS no_index, a.amname
FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname LIKE 'change_log_%' ORDER BY 1;

-- Values in tables that grow are not analyzed: these are of the configuration.
SELECT c.relname, a.attname FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind = 'r'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid = 'jsonb'::regtype AND coalesce(a.attstattarget, -1) <> 0 ORDER BY 1, 2;
-- No table applies rows that logical replication brings.
SELECT c.relname FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind = 'r'
WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled = 'R'
                  AND t.tgfoid = 'crmsync.ignore_replicated'::regproc AND t.tgtype = 31) ORDER BY 1;

-- What pg_dump keeps.
SELECT c.relname, c.relkind FROM pg_extension e, unnest(e.extconfig) x JOIN pg_class c ON c.oid = x
WHERE e.extname = 'crmsync' ORDER BY 1;
-- No view reads a secret.
SELECT DISTINCT w.ev_class::regclass FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
WHERE d.refobjid = 'crmsync.target_secret'::regclass;
-- Views so expensive, as the planner sees it, that it would have them compiled (jit): none.
CREATE FUNCTION pg_temp.cost(relation text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) SELECT * FROM crmsync.' || relation INTO plan;
    RETURN plan #>> '{0,Plan,Total Cost}';
END $$;
SELECT c.relname FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid AND c.relkind = 'v'
WHERE pg_temp.cost(c.relname) > 100000 ORDER BY 1;
DROP EXTENSION crmsync;
