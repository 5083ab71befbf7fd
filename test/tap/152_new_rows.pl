# New items whose rows turn out to be others than they seem: two that are one record, and one that the source
# does not show.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use Test::More;

my $stage = CrmSync::EndToEnd->new('new_rows');
my $exchange = $stage->exchange;
my $one = 'user1@example.test';

sub user_makes { my (%set) = @_; return $exchange->act($one, 'create', folder => 'contacts', set => \%set) }
sub failing { return $stage->sql("SELECT coalesce(string_agg(concat_ws(' ', code, message), ', '), 'nothing') FROM crmsync.failures") }
sub items { return join ' ', sort map { $_->{properties}{'contacts:GivenName'} // '' } $exchange->items($one) }
sub is_stamped { my ($name, $what) = @_; $stage->until_true(sub { grep { $_->{'contacts:GivenName'} eq $name } values %{ $exchange->records($one) } }, $what, 20); return }

$stage->make_tables;
$stage->share_new_rows;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
ALTER TABLE crm.person ADD approved boolean NOT NULL DEFAULT true;
CREATE TABLE crm.email (id serial PRIMARY KEY, person integer NOT NULL REFERENCES crm.person, email text);
CREATE INDEX ON crm.email (person);
CREATE VIEW crm.approved AS SELECT id, first_name, last_name, made_in FROM crm.person WHERE approved;
CREATE VIEW crm.family AS SELECT id, first_name, last_name, made_in FROM crm.approved;
CREATE FUNCTION crm.find_or_make() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT id INTO NEW.id FROM crm.person WHERE last_name = NEW.last_name;
    IF NOT FOUND THEN
        INSERT INTO crm.person (first_name, last_name, made_in) VALUES (NEW.first_name, NEW.last_name, NEW.made_in) RETURNING id INTO NEW.id;
    ELSE
        UPDATE crm.person SET first_name = NEW.first_name WHERE id = NEW.id;
        INSERT INTO crm.audience VALUES (NEW.id, NEW.made_in) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER find_or_make INSTEAD OF INSERT ON crm.family FOR EACH ROW EXECUTE FUNCTION crm.find_or_make();
SQL
$stage->make_target;

sub make_link
{
	my ($name, $source) = @_;
	$stage->sql(<<"SQL");
SET client_min_messages = error;
SET ROLE crm_owner;
INSERT INTO crm.person (id, first_name, approved) VALUES (1, 'First1', true);
INSERT INTO crm.audience VALUES (1, '$one');
RESET ROLE;
SELECT crmsync.create_link('$name', 'exchange', 'contact', '$source', 'id', audience => 'crm.audience', direction => 'both', inbound_interval => '1 s');
SELECT crmsync.map('$name', 'first_name', 'given_name');
SELECT crmsync.map('$name', 'last_name', 'surname');
SELECT crmsync.map('$name', 'made_in', '\@mailbox');
SELECT crmsync.map_child('$name', 'crm.email', 'person', '{"email": "email_1"}');
SELECT crmsync.watch('$name', 'crm.person', 'id');
SELECT crmsync.enable_link('$name');
SQL
	$stage->settles("link $name", $name);
	return;
}

# ---- a view whose trigger finds the record that there is
$stage->sql("SET ROLE crm_owner; INSERT INTO crm.person (id, last_name) VALUES (2, 'Twins'); INSERT INTO crm.email (person, email) VALUES (2, 'old\@x')");
make_link('family', 'crm.family');
$exchange->post('server', paused => \1);
user_makes('contacts:GivenName' => $_, 'contacts:Surname' => 'Twins', 'contacts:EmailAddress/EmailAddress1' => "$_\@x") for 'Castor', 'Pollux';
user_makes('contacts:GivenName' => 'Helen', 'contacts:Surname' => 'Sister', 'contacts:EmailAddress/EmailAddress1' => 'Helen@x');
$exchange->post('server', paused => \0);
$stage->until_true(sub { $stage->sql("SELECT string_agg(p.last_name, ' ' ORDER BY p.last_name) FROM crm.person p JOIN crm.email e ON e.person = p.id") eq 'Sister Twins' && $stage->sql("SELECT email FROM crm.email WHERE person = 2") ne 'old\@x' }, 'two new items of one record: one comes in, and what is beside them', 20);
$stage->until_true(sub { failing() =~ /^23505 it would be record \d+, which has another item in mailbox \Q$one\E$/ }, 'the other is parked', 20) or diag(failing());
is(items(), 'Castor First1 Helen Pollux', 'and stays');
$stage->sql("SET client_min_messages = error; SELECT crmsync.drop_link('family')");

# ---- a view that does not show the new row
$exchange->act($one, 'delete', match => { 'contacts:GivenName' => $_ }, folder => 'contacts') for 'Castor', 'First1', 'Helen', 'Pollux';
$stage->sql('SET ROLE crm_owner; TRUNCATE crm.audience, crm.email, crm.person; ALTER TABLE crm.person ALTER approved SET DEFAULT false');
make_link('approved', 'crm.approved');
user_makes('contacts:GivenName' => 'Ann', 'contacts:Surname' => 'New');
$stage->until_true(sub { failing() ne 'nothing' || $stage->sql('SELECT count(*) FROM crm.person') ne '1' }, 'a new item', 20);
is(failing(), '44000 the new row would not be in crm.approved', 'whose row the source would not show is parked');
is($stage->sql('SELECT count(*) FROM crm.person'), '1', 'makes no row');
is(items(), 'Ann First1', 'and stays');
$stage->sql("SET ROLE crm_owner; ALTER TABLE crm.person ALTER approved SET DEFAULT true; RESET ROLE; SELECT crmsync.retry('approved')");
is_stamped('Ann', 'once the source shows it, it comes in');
is(failing(), 'nothing', 'and the failure is gone');

$stage->done;
