# Random histories of both sides at once: changes, new contacts, deletes, audiences, crashes, a server that
# stands still or forgets where the reading stood. When all is quiet nothing is doubled or lost, and both
# sides hold the same: values that one of them wrote last. The seed is printed; CRMSYNC_SEED repeats one,
# CRMSYNC_ROUNDS says how many.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;

use CrmSync::EndToEnd;
use CrmSync::StandIn;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{CRMSYNC_SEED} // time % 1_000_000;
my $rounds = $ENV{CRMSYNC_ROUNDS} // 6;
srand $seed;
note("CRMSYNC_SEED=$seed");

my $stage = CrmSync::EndToEnd->new('histories');
my $exchange = $stage->exchange;
my @mailboxes = map { "user$_\@example.test" } 1 .. 3;
my %column = ('contacts:GivenName' => 'first_name', 'contacts:Surname' => 'last_name', 'contacts:JobTitle' => 'remark');
$stage->make_tables;
$stage->sql(<<'SQL');
SET ROLE crm_owner;
CREATE SEQUENCE crm.person_key START 1000;
ALTER TABLE crm.person ALTER id SET DEFAULT nextval('crm.person_key'), ADD made_in text, ADD tag text;
CREATE FUNCTION crm.share() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crm.audience VALUES (NEW.id, NEW.made_in);
    RETURN NULL;
END;
$$;
CREATE TRIGGER share AFTER INSERT ON crm.person FOR EACH ROW WHEN (NEW.made_in IS NOT NULL) EXECUTE FUNCTION crm.share();
SQL
$stage->make_target;
$stage->make_link(more => "direction => 'both', inbound_interval => '1 s', options => '{\"max_deletes\": 100000, \"max_delete_percent\": 100}'", before => <<'SQL');
SELECT crmsync.map('people', 'remark', 'job_title');
SELECT crmsync.map('people', 'tag', 'nickname');
SELECT crmsync.map('people', 'made_in', '@mailbox');
SQL

my (@log, @before, %deleted);
my %written;    # by tag, property and writer: values, of which the last one counts once all is quiet
my %loose;      # "TAG MAILBOX": what was written there need not have come in before the item was let go
my $tags = 0;
sub any { return $_[ rand @_ ] }
sub token { return 'v' . ++$tags }
sub people { return map { [ split /\|/, $_, -1 ] } split /\n/, $stage->sql("SELECT id, tag, first_name, last_name, remark FROM crm.person ORDER BY id") }
sub does { push @log, "@_"; return }

my %step = (
	crm_changes => sub {
		my $person = any(people()) or return;
		my $property = any(sort keys %column);
		my $value = token();
		does("the CRM sets $column{$property} of $person->[1] to $value");
		$stage->sql("UPDATE crm.person SET $column{$property} = '$value' WHERE id = $person->[0]");
		push @{ $written{ $person->[1] }{$property}{crm} }, $value;
	},
	user_changes => sub {
		my $mailbox = any(@mailboxes);
		my $item = any($exchange->items($mailbox)) or return;
		my $tag = $item->{properties}{'contacts:Nickname'} // return;
		my $property = any(sort keys %column);
		my $value = token();
		does("$mailbox sets $property of $tag to $value");
		$exchange->act($mailbox, 'update', id => $item->{id}, set => { $property => $value });
		push @{ $written{$tag}{$property}{$mailbox} }, $value;
	},
	crm_makes => sub {
		my $tag = 'crm' . ++$tags;
		my @in = grep { rand() < 0.6 } @mailboxes;
		does("the CRM makes $tag in (@in)");
		$stage->sql("WITH p AS (INSERT INTO crm.person (tag, first_name) VALUES ('$tag', '$tag') RETURNING id) "
			  . "INSERT INTO crm.audience SELECT id, m FROM p, unnest('{" . join(',', @in) . "}'::text[]) m");
		push @{ $written{$tag}{'contacts:GivenName'}{crm} }, $tag;
	},
	user_makes => sub {
		my $mailbox = any(@mailboxes);
		my $tag = 'user' . ++$tags;
		does("$mailbox makes $tag");
		$exchange->act($mailbox, 'create', folder => 'contacts', set => { 'contacts:Nickname' => $tag, 'contacts:GivenName' => $tag });
		push @{ $written{$tag}{'contacts:GivenName'}{$mailbox} }, $tag;
	},
	crm_deletes => sub {
		my $person = any(people()) or return;
		does("the CRM deletes $person->[1]");
		$stage->sql("DELETE FROM crm.audience WHERE record = $person->[0]; DELETE FROM crm.person WHERE id = $person->[0]");
	},
	audience => sub {
		my $person = any(people()) or return;
		my $mailbox = any(@mailboxes);
		does("$mailbox gets or loses $person->[1]");
		$loose{"$person->[1] $mailbox"} = 1;
		$stage->sql("WITH gone AS (DELETE FROM crm.audience WHERE record = $person->[0] AND mailbox = '$mailbox' RETURNING 1) "
			  . "INSERT INTO crm.audience SELECT $person->[0], '$mailbox' WHERE NOT EXISTS (SELECT FROM gone)");
	},
	user_deletes => sub {
		my $mailbox = any(@mailboxes);
		my $item = any($exchange->items($mailbox)) or return;
		my $tag = $item->{properties}{'contacts:Nickname'} // return;
		does("$mailbox deletes $tag");
		$exchange->act($mailbox, 'delete', id => $item->{id});
		$deleted{"$tag $mailbox"} = $loose{"$tag $mailbox"} = 1;
	},
	user_copies => sub {
		my $mailbox = any(@mailboxes);
		my $item = any($exchange->items($mailbox)) or return;
		my $tag = $item->{properties}{'contacts:Nickname'} // return;
		my $new = 'user' . ++$tags;
		does("$mailbox copies $tag to $new");
		my $copy = $exchange->act($mailbox, 'copy', id => $item->{id}, to => 'contacts')->{ids}[0];
		sleep rand 3 if rand() < 0.3;
		$exchange->act($mailbox, 'update', id => $copy, set => { 'contacts:Nickname' => $new, 'contacts:GivenName' => $new });
		$written{$new}{$_}{$mailbox} = [ grep { defined } $item->{properties}{$_} ] for keys %column;
		push @{ $written{$new}{'contacts:GivenName'}{$mailbox} }, $new;
	},
	user_moves_back => sub {
		my $mailbox = any(@mailboxes);
		my $item = any($exchange->items($mailbox)) or return;
		my $tag = $item->{properties}{'contacts:Nickname'} // return;
		does("$mailbox moves $tag away and back");
		my $away = $exchange->act($mailbox, 'move', id => $item->{id}, to => 'deleteditems')->{ids}[0];
		sleep rand 3 if rand() < 0.3;
		$exchange->act($mailbox, 'move', id => $away, to => 'contacts');
	},
	state_lost => sub {
		my $mailbox = any(@mailboxes);
		does("the server forgets the reading of $mailbox");
		$exchange->post('mailbox', address => $mailbox, invalidate_sync_states => \1);
	},
	server_stands_still => sub {
		does('the server stands still');
		$exchange->post('server', paused => \1);
		sleep rand 0.5;
		$exchange->post('server', paused => \0);
	},
	crash => sub {
		does('the database crashes');
		$stage->node->stop('immediate');
		$stage->node->start;
	},
	nothing => sub { sleep rand 1.2 },
);
my @often = (('crm_changes') x 4, ('user_changes') x 5, 'crm_makes', ('user_makes') x 2, 'crm_deletes', ('audience') x 2, 'user_deletes', 'user_copies', 'user_moves_back', ('nothing') x 3, 'state_lost', 'server_stands_still');

sub is_quiet { return $stage->sql("SELECT (SELECT count(*) FROM crmsync.pending) + (SELECT count(*) FROM crmsync.arrival) + (SELECT count(*) FROM crmsync.item WHERE NOT stamped AND state = 'linked' OR state = 'leaving')") eq '0' }

# All mailboxes have been read twice since nothing was left to do.
sub wait_for_quiet
{
	my $until = time + 60;
	my $quiet_since = time;
	while (time < $until && time - $quiet_since < 2.6)
	{
		$quiet_since = time if !is_quiet();
		sleep 0.2;
	}
	return is_quiet();
}

sub check
{
	my @wrong;
	my %person = map { $_->[1] => $_ } people();
	push @wrong, 'a tag is twice in the CRM' if $stage->sql('SELECT count(*) - count(DISTINCT tag) FROM crm.person') ne '0';
	my %audience = map { $_ => 1 } split /\n/, $stage->sql("SELECT p.tag || ' ' || a.mailbox FROM crm.audience a JOIN crm.person p ON p.id = a.record");
	my %there;
	for my $mailbox (@mailboxes)
	{
		for my $item ($exchange->items($mailbox))
		{
			my $tag = $item->{properties}{'contacts:Nickname'} // next;
			my $key = CrmSync::StandIn::key_of($item);
			push @wrong, "$tag is twice in $mailbox" if $there{"$tag $mailbox"}++;
			next if !defined $key;
			my $person = $person{$tag};
			push @wrong, "$tag is in $mailbox, though it is not in its audience" if !$audience{"$tag $mailbox"};
			next if !$person;
			push @wrong, "$tag in $mailbox is said to be of record $key" if $key ne $person->[0];
			my %crm = ('contacts:GivenName' => $person->[2], 'contacts:Surname' => $person->[3], 'contacts:JobTitle' => $person->[4]);
			for my $property (sort keys %column)
			{
				my $held = $item->{properties}{$property} // '';
				push @wrong, "$property of $tag is '$held' in $mailbox and '$crm{$property}' in the CRM" if $held ne $crm{$property};
				push @wrong, "$property of $tag is '$held', which nobody wrote last" if $held ne '' && !grep { $_ eq $held } map { @$_ } values %{ $written{$tag}{$property} };
			}
		}
	}
	push @wrong, map { "$_ is missing" } grep { !$there{$_} && !$deleted{$_} } sort keys %audience;
	push @wrong, 'failures: ' . $stage->sql("SELECT string_agg(concat_ws(' ', record, mailbox, code, message), ', ') FROM crmsync.failures") if $stage->sql('SELECT count(*) FROM crmsync.failures') ne '0';
	return @wrong;
}

# Only what was written last counts from here on.
sub forget_overwritten
{
	for my $tag (keys %written)
	{
		for my $by (values %{ $written{$tag} })
		{
			$loose{"$tag $_"} or splice @{ $by->{$_} }, 0, -1 for keys %$by;
		}
	}
	return;
}

for my $round (1 .. $rounds)
{
	push @before, splice @log;
	for (1 .. 6 + int rand 20)
	{
		my $name = rand() < 0.03 ? 'crash' : any(@often);
		$step{$name}->();
	}
	my $quiet = wait_for_quiet();
	my @wrong = check();
	ok($quiet && !@wrong, "history $round of seed $seed") or do
	{
		my %concerned = map { $_ => 1 } map { /\b((?:crm|user)\d+)\b/g } @wrong;
		my @earlier = grep { my $line = $_; grep { $line =~ /\b$_\b/ } keys %concerned } @before;
		diag(join "\n", ($quiet ? () : 'it does not come to rest'), @wrong, 'after:', @earlier, '--', @log);
		last;
	};
	forget_overwritten();
}
$stage->done;
