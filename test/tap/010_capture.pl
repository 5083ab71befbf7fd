# What the row trigger writes to the change log: for every kind of statement, key and relation, and
# what it leaves out.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('capture');
$node->init;
# No worker, so that nobody consumes what is looked at here.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'crmsync'\ncrmsync.enabled = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION crmsync');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION markers() RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
    SELECT coalesce(string_agg(capture || ':' || coalesce(value, '*'), ' ' ORDER BY capture, value COLLATE "C" NULLS FIRST), 'none')
    INTO found
    FROM (SELECT * FROM crmsync.change_log_0 UNION ALL SELECT * FROM crmsync.change_log_1) l;
    TRUNCATE crmsync.change_log_0, crmsync.change_log_1;
    RETURN found;
END $$;
CREATE PROCEDURE watch(capture int, relation regclass, column_name text, VARIADIC columns text[]) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER crmsync_%s AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION crmsync.capture(%L, %L, %s)',
                   capture, relation, capture, column_name,
                   (SELECT string_agg(quote_literal(c), ', ') FROM unnest(columns) c));
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER crmsync_%s', relation, capture);
    EXECUTE format('CREATE TRIGGER crmsync_%s_truncate AFTER TRUNCATE ON %s EXECUTE FUNCTION crmsync.capture_all(%L)',
                   capture, relation, capture);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER crmsync_%s_truncate', relation, capture);
END $$;
SQL

# Runs statements in one session and compares the markers that they leave.
sub marks
{
	my ($statements, $expected, $name) = @_;
	$node->safe_psql('postgres', $statements);
	is($node->safe_psql('postgres', 'SELECT markers()'), $expected, $name);
	return;
}

# ---- statements
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE person (id int PRIMARY KEY, name text, phone text, notes text, visits int DEFAULT 0);
CALL watch(1, 'person', 'id', 'name', 'phone');
SQL
marks("INSERT INTO person VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cid')", '1:1 1:2 1:3', 'insert');
marks("UPDATE person SET phone = '1' WHERE id = 1", '1:1', 'update of a relevant column');
marks("UPDATE person SET notes = 'x', visits = visits + 1", 'none', 'update of other columns');
marks("UPDATE person SET name = name, phone = phone", 'none', 'update to the same values');
marks("UPDATE person SET phone = NULL WHERE id = 1", '1:1', 'update to NULL');
marks("UPDATE person SET phone = NULL", 'none', 'NULL to NULL');
marks("UPDATE person SET id = 30 WHERE id = 3", '1:3 1:30', 'update of the key marks both');
marks("DELETE FROM person WHERE id = 30", '1:30', 'delete');
marks("COPY person FROM STDIN;\n4\tDan\t\\N\t\\N\t0\n5\tEva\t\\N\t\\N\t0\n\\.\n", '1:4 1:5', 'COPY');
marks("INSERT INTO person VALUES (4, 'Dan') ON CONFLICT DO NOTHING", 'none', 'on conflict do nothing');
marks("INSERT INTO person VALUES (4, 'Dan') ON CONFLICT (id) DO UPDATE SET visits = 7",
	'none', 'on conflict do update of another column');
marks("INSERT INTO person VALUES (4, 'Don'), (6, 'Fay') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
	'1:4 1:6', 'on conflict do update');
marks("MERGE INTO person p USING (VALUES (4, 'Dun'), (5, NULL), (7, 'Gus')) v (id, name) ON p.id = v.id
       WHEN MATCHED AND v.name IS NULL THEN DELETE
       WHEN MATCHED THEN UPDATE SET name = v.name
       WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name)", '1:4 1:5 1:7', 'merge');
marks("BEGIN; UPDATE person SET name = name || '!'; UPDATE person SET name = name || '!';
       DELETE FROM person WHERE id = 7; COMMIT", '1:1 1:2 1:4 1:6 1:7', 'one marker per record and transaction');
marks("TRUNCATE person", '1:*', 'truncate');

# ---- what is written counts, not what was asked for
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE later (id int PRIMARY KEY, a text, b text GENERATED ALWAYS AS (upper(a)) STORED);
CREATE FUNCTION set_a() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := 'set'; RETURN NEW; END $$;
CALL watch(2, 'later', 'id', 'b');
INSERT INTO later VALUES (1, 'x');
SELECT markers();
SQL
marks("UPDATE later SET a = 'y'", '2:1', 'a stored generated column is relevant');
marks("UPDATE later SET a = 'y'", 'none', 'and compared');
$node->safe_psql('postgres', 'CREATE TRIGGER zzz BEFORE UPDATE ON later FOR EACH ROW EXECUTE FUNCTION set_a()');
marks("UPDATE later SET a = 'y'", '2:1', 'a BEFORE trigger that sorts later is seen');
marks("UPDATE later SET a = 'z'", 'none', 'also when it undoes the change');

SKIP:
{
	skip 'virtual generated columns came with PostgreSQL 18', 8 if $node->pg_version < 18;
	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE computed (id int PRIMARY KEY, given text, family text, note text, code text GENERATED ALWAYS AS (note) VIRTUAL,
                       name text GENERATED ALWAYS AS (given || ' ' || family) VIRTUAL);
CALL watch(6, 'computed', 'id', 'name');
INSERT INTO computed VALUES (1, 'Ann', 'Abel', 'x'), (2, 'Ben', 'Berg', 'y');
SELECT markers();
SQL
	marks("UPDATE computed SET family = 'Acker' WHERE id = 1", '6:1',
		'what a virtual generated column is computed from is relevant');
	marks("UPDATE computed SET note = 'z'", 'none', 'and nothing else');
	$node->safe_psql('postgres', "CALL watch(7, 'computed', 'code', 'given')");
	marks("UPDATE computed SET note = 'a' WHERE id = 2", '7:*',
		'a virtual generated column cannot name the record: everything');
	marks("INSERT INTO computed VALUES (3, 'Cid', 'Carl', 'z')", '6:3 7:*', 'nor of a new row');
	$node->safe_psql('postgres', 'DROP TRIGGER crmsync_7 ON computed');
	marks("DELETE FROM computed WHERE id = 3", '6:3', 'delete');
	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE placed (id int PRIMARY KEY, given text, note text, here boolean GENERATED ALWAYS AS (tableoid <> 0::oid AND given <> '') VIRTUAL,
                     elsewhere boolean GENERATED ALWAYS AS (tableoid = 0::oid) VIRTUAL);
CALL watch(8, 'placed', 'id', 'here', 'elsewhere');
INSERT INTO placed VALUES (1, 'Ann', 'x');
SELECT markers();
SQL
	marks("UPDATE placed SET note = 'y'", 'none', 'one that is computed from tableoid does not change with the row');
	marks("UPDATE placed SET given = 'Ada'", '8:1', 'but with what else it is computed from');
	marks("DELETE FROM placed", '8:1', 'or with all');
}

# ---- keys
my @keys = (
	[ 'smallint', "7", '7' ], [ 'bigint', "-9007199254740993", '-9007199254740993' ],
	[ 'uuid', "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' ],
	[ 'text', "'\x{c3}\x{a4} b'", "\x{c3}\x{a4} b" ], [ 'varchar(20)', "'v'", 'v' ], [ 'char(6)', "'c'", 'c' ],
	[ 'mood', "'glad'", 'glad' ], [ 'boolean', "true", 'true' ], [ '"char"', "'q'", 'q' ], [ 'name', "'n'", 'n' ],
	[ 'short_text', "'d'", 'd' ], [ 'inet', "'10.0.0.1'", '10.0.0.1/32' ]);
$node->safe_psql('postgres', "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN short_text AS varchar(20)");
my $capture = 100;
for my $key (@keys)
{
	my ($type, $literal, $text) = @$key;
	$capture++;
	$node->safe_psql('postgres', "CREATE TABLE key_$capture (id $type PRIMARY KEY, v text);
	                              CALL watch($capture, 'key_$capture', 'id', 'v')");
	marks("INSERT INTO key_$capture VALUES ($literal)", "$capture:$text", "key of type $type");
	is( $node->safe_psql('postgres', "SELECT id::text FROM key_$capture"), $text, "as $type\::text gives it");
}

# ---- watched columns that are no key, and relations that nobody watches
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE member (team int, person int, note text);
CALL watch(3, 'member', 'person', 'team');
CREATE TABLE setting (k text, v text);
CALL watch(4, 'setting', '', '*');
CREATE TABLE broad (id text, body text);
CALL watch(5, 'broad', 'body', '*');
SQL
marks("INSERT INTO member VALUES (1, 10), (1, NULL), (2, 10)", '3:10', 'NULL names no record');
marks("UPDATE member SET person = 11 WHERE team = 2", '3:10 3:11', 'the named column is relevant by itself');
marks("UPDATE member SET note = 'x'", 'none', 'others are not');
marks("INSERT INTO setting VALUES ('a', 'b'), ('c', 'd')", '4:*', 'without a column: everything, once');
marks("UPDATE setting SET v = v", 'none', 'but only when something changed');
marks("INSERT INTO broad VALUES ('1', repeat('x', 1001))", '5:*', 'a value too long for the log is everything');
marks("UPDATE broad SET id = '2'", '5:*', 'also where TOAST holds it');

# ---- definitions that change under the trigger
$node->safe_psql('postgres', 'INSERT INTO person (id, name) VALUES (1, $$Ann$$); SELECT markers()');
marks("UPDATE person SET visits = 8; ALTER TABLE person ADD COLUMN more text, ALTER COLUMN phone TYPE varchar(40);
       UPDATE person SET more = 'm'", 'none', 'a column added and one retyped');
marks("UPDATE person SET phone = '2'", '1:1', 'the retyped one is still relevant');
marks("ALTER TABLE person DROP COLUMN phone; UPDATE person SET visits = 9", '1:1',
	'a relevant column that was dropped makes all relevant');
marks("ALTER TABLE person RENAME COLUMN id TO person_id; UPDATE person SET visits = 10", '1:*',
	'a key that was renamed means everything');
marks("ALTER TABLE person RENAME COLUMN person_id TO id; UPDATE person SET visits = 11", '1:1', 'and back');

# ---- partitions
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE visit (id int, region text, place text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE visit_a PARTITION OF visit FOR VALUES IN ('a');
CALL watch(6, 'visit', 'id', 'place', 'region');
CREATE TABLE visit_b (region text, dropped int, place text, id int NOT NULL, PRIMARY KEY (id, region));
ALTER TABLE visit_b DROP COLUMN dropped;
ALTER TABLE visit_b ALTER COLUMN region SET NOT NULL;
ALTER TABLE visit ATTACH PARTITION visit_b FOR VALUES IN ('b');
SQL
marks("INSERT INTO visit VALUES (1, 'a'), (2, 'b')", '6:1 6:2', 'rows of partitions, one with other column numbers');
marks("UPDATE visit_b SET place = 'x'", '6:2', 'a partition by its own name');
marks("UPDATE visit SET region = 'b' WHERE id = 1", '6:1', 'a row that moves to another partition');
marks("ALTER TABLE visit DETACH PARTITION visit_b; UPDATE visit_b SET place = 'y'", 'none', 'a partition detached');
is( $node->safe_psql('postgres', "SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger
      WHERE tgrelid IN ('visit'::regclass, 'visit_a'::regclass) AND tgname = 'crmsync_6'"),
	'A', 'the copies on partitions are always enabled too');

# ---- who writes, and how
$node->safe_psql('postgres', "CREATE ROLE clerk; GRANT ALL ON person TO clerk; REVOKE ALL ON SCHEMA crmsync FROM PUBLIC");
marks("SET ROLE clerk; UPDATE person SET name = 'by clerk'", '1:1', 'a writer without any right on our schema');
marks("SET session_replication_role = replica; UPDATE person SET name = 'replicated'", '1:1',
	'session_replication_role does not hide a change');
marks("SET default_transaction_isolation = serializable; UPDATE person SET name = 'serial'", '1:1', 'serializable');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
CALL watch(7, 'child', 'parent', 'parent');
INSERT INTO child VALUES (1, 1);
SELECT markers();
SQL
marks("UPDATE person SET id = 2", '1:1 1:2 7:1 7:2', 'foreign key actions: update');
marks("DELETE FROM person", '1:2 7:2', 'foreign key actions: delete');

# ---- a log that somebody altered is refused, with what to do
my ($status, $out, $error) = $node->psql('postgres',
	"CREATE INDEX spoilt ON crmsync.change_log_0 (value); INSERT INTO member VALUES (1, 1)");
like($error, qr/cannot append to the change log "change_log_0".*It has an index.*HINT:/s, 'an index on the log is refused');
$node->safe_psql('postgres', 'DROP INDEX crmsync.spoilt');
marks("INSERT INTO member VALUES (1, 1)", '3:1', 'and works again without it');

# ---- misuse
(undef, undef, $error) = $node->psql('postgres', 'SELECT crmsync.capture()');
like($error, qr/trigger functions can only be called as triggers|must be called as a trigger/, 'not as a function');
(undef, undef, $error) = $node->psql('postgres', "CREATE TABLE wrong (id int);
	CREATE TRIGGER t BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION crmsync.capture('1', 'id');
	INSERT INTO wrong VALUES (1)");
like($error, qr/must be called after each row/, 'not as a BEFORE trigger');

$node->stop;
done_testing();
