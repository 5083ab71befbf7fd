// One run of an LDAP link, in a background worker of its own that ends with it:
//
//   transaction      read the link, take its lock, make the temporary tables
//   no transaction   search; a thousand at a time are looked up among the items, and a megabyte at
//   a
//                    time is copied into the temporary tables
//   no transaction   read the members of mapped groups
//   transactions     compare with the items, merge in slices, mark who vanished, memberships
//   transaction      outcome
//
// Each of these transactions begins by looking whether the link still runs, and the rest is left
// undone when it does not. Nothing is merged before the search is complete: a run that fails until
// then changes nothing, and what fails after it is done again by the next run, since every step
// only removes differences.
#include <chrono>
#include <string>

#include "directory/search.h"
#include "directory/server_kind.h"
#include "record/text.h"
#include "server/import/directory_entries.h"
#include "server/import/directory_link.h"
#include "server/import/directory_membership.h"
#include "server/import/directory_merge.h"
#include "server/import/directory_row.h"
#include "server/import/directory_staging.h"
#include "server/postgres/boundary.h"
#include "server/postgres/log.h"
#include "server/postgres/preload.h"
#include "server/postgres/query.h"
#include "server/postgres/run_schedule.h"
#include "server/postgres/session.h"
#include "server/postgres/transaction.h"
#include "server/state/history.h"

extern "C" {
#include "miscadmin.h"
#include "pgstat.h"
}

namespace crmsync {

namespace {

constexpr std::uint64_t progress_interval = 1000;

constexpr std::chrono::seconds longest_wait_to_record{16};

int page_size(const DirectoryLink& link, const directory::ServerKind& kind) {
    if (!kind.supports_paging) {
        return 0;
    }
    if (link.page_size > 0) {
        return link.page_size;
    }
    return kind.page_size;
}

std::string user_filter(const DirectoryLink& link, const directory::ServerKind& kind) {
    if (!link.filter.empty()) {
        return link.filter.front() == '(' ? link.filter : "(" + link.filter + ")";
    }
    return kind.is_active_directory ? "(&(objectCategory=person)(objectClass=user))"
                                    : "(objectClass=person)";
}

// The directory layer asks several times a second; a termination ends the process in here.
bool should_stop() {
    pg::check_interrupts();
    return false;
}

// Why a run has failed.
struct Trouble {
    std::string code;
    std::string message;
    std::string hint;
    bool of_target = false;     // and so of all its links
    bool stops_target = false;  // until somebody says otherwise
    bool is_broken = false;     // the link: nothing will change by itself
};

Trouble trouble_of(const directory::Error& error) {
    return {directory::error_code(error.kind()), record::cleaned(error.what()), error.hint(),
            directory::concerns_server(error.kind()),
            error.kind() == directory::ErrorKind::credentials};
}

// A name that no longer resolves, or a right that is missing.
bool is_broken(const std::string& sqlstate) {
    return sqlstate.starts_with("42");
}

Trouble trouble_of(const pg::UserError& error) {
    const bool broken = error.sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE ||
                        is_broken(pg::Error{.sqlstate = error.sqlstate}.code());
    return {"CONFIGURATION", error.what(), error.hint, false, false, broken};
}

Trouble trouble_of(const pg::Error& error) {
    return {error.code(), error.message, error.hint, false, false, is_broken(error.code())};
}

class DirectoryRun {
  public:
    explicit DirectoryRun(int link) : id_(link) {}

    void run() {
        try {
            try {
                if (begin()) {
                    import();
                }
            } catch (const RunStopped&) {
                record_stop();
            }
        } catch (const directory::Error& error) {
            record_failure(trouble_of(error));
        } catch (const pg::UserError& error) {
            record_failure(trouble_of(error));
        } catch (const pg::Error& error) {
            record_failure(trouble_of(error));
        }
    }

  private:
    bool begin() {
        pg::Transaction transaction("reading link " + std::to_string(id_),
                                    pg::Transaction::read_committed);
        if (!take_run_lock(import_lock)) {
            return false;
        }
        link_ = read_directory_link(id_);
        if (!link_.runs) {
            return false;
        }
        pg::query(
            "INSERT INTO crmsync.link_state AS s (link, last_started) "
            "VALUES ($1, pg_catalog.clock_timestamp()) ON CONFLICT (link) DO UPDATE "
            "SET last_started = excluded.last_started",
            id_);
        create_staging(link_);
        create_inbound_functions(link_);
        transaction.commit();
        return true;
    }

    void import() {
        pg::report_idle("connecting to " + link_.server.url + " for link " + link_.name);
        directory::Connection connection(link_.server, should_stop);
        const directory::ServerKind kind = directory::probe(connection);
        const DirectoryRowReader reader(link_, kind);
        const DirectorySurvey survey = read_entries(connection, kind, reader);
        DirectoryMembership membership(link_, outcome_, failures_);
        if (link_.keeps_memberships()) {
            pg::report_idle("reading groups for link " + link_.name);
            membership.read(connection, kind, user_filter(link_, kind), page_size(link_, kind));
        }
        DirectoryMerge merge(link_, reader, outcome_, failures_);
        merge.compare(survey);
        merge.merge();
        if (merge.knows_who_is_gone()) {
            merge.mark_vanished();
        }
        // The option exclusive takes memberships from users who have not been merged, too.
        const bool knows_members = merge.too_many().empty() || !link_.exclusive;
        if (knows_members) {
            membership.merge();
        }
        if (!merge.too_many().empty()) {
            if (merge.knows_who_is_gone() && knows_members) {
                record_held();
            }
            throw pg::UserError(ERRCODE_DATA_EXCEPTION, merge.too_many(), {},
                                "See crmsync.failures, and check the mappings of the link.");
        }
        record_success(membership.problem());
    }

    // What a run that was not finished has held back can be confirmed as well.
    void record_held() {
        pg::Transaction transaction("recording what link " + link_.name + " holds back",
                                    pg::Transaction::read_committed);
        const std::string held_back = note_held(link_, outcome_.held);
        pg::query("UPDATE crmsync.link_state SET held = nullif($2, '') WHERE link = $1", id_,
                  std::string_view(held_back));
        write_summary();
        transaction.commit();
    }

    DirectorySurvey read_entries(directory::Connection& connection,
                                 const directory::ServerKind& kind,
                                 const DirectoryRowReader& reader) {
        directory::Query query;
        query.base = link_.base;
        query.scope = link_.scope;
        query.filter = user_filter(link_, kind);
        query.attributes = reader.attributes();
        query.page_size = page_size(link_, kind);
        query.ignore_references = kind.is_active_directory;
        DirectoryEntries entries(link_);
        DirectoryRow row;
        pg::report_idle("reading " + link_.base + " for link " + link_.name);
        directory::search(connection, query, [&](const directory::Entry& entry) {
            reader.read(entry, row);
            entries.add(row);
            if (++outcome_.read % static_cast<std::int64_t>(progress_interval) == 0) {
                preload().set_progress(id_, "reading", outcome_.read, 0);
                pg::check_interrupts();
            }
        });
        entries.finish();
        if (outcome_.read == 0 && !directory::shows_base(connection, link_.base)) {
            throw directory::Error(directory::ErrorKind::not_found,
                                   "the base \"" + link_.base + "\" cannot be read",
                                   "check the base, and whether the account may read it");
        }
        return entries.survey();
    }

    void record_success(const std::string& problem) {
        pg::Transaction transaction("finishing link " + link_.name,
                                    pg::Transaction::read_committed);
        failures_.settle();
        const std::string held_back = note_held(link_, outcome_.held);
        pg::query(
            "UPDATE crmsync.link_state SET last_success = n.now, attempts = 0, "
            "comparison = CASE WHEN comparison_asked = $4 THEN NULL ELSE comparison END, "
            "next_attempt = NULL, broken = NULL, held = nullif($2, ''), "
            "code = CASE WHEN $3 = '' THEN code ELSE 'GROUPS' END, "
            "last_error = CASE WHEN $3 = '' THEN last_error ELSE $3 END, "
            "last_error_at = CASE WHEN $3 = '' THEN last_error_at ELSE n.now END "
            "FROM (SELECT pg_catalog.clock_timestamp() AS now) n WHERE link = $1",
            id_, std::string_view(held_back), std::string_view(problem), link_.comparison_asked);
        pg::query(
            "INSERT INTO crmsync.target_state AS s (target, last_success) "
            "VALUES ($1, pg_catalog.clock_timestamp()) ON CONFLICT (target) DO UPDATE SET "
            "attempts = 0, next_attempt = NULL, code = NULL, message = NULL, since = NULL, "
            "last_success = excluded.last_success",
            std::string_view(link_.target));
        write_summary();
        transaction.commit();
        log_outcome(held_back, problem);
    }

    void write_summary() {
        const bool changed = outcome_.created + outcome_.updated + outcome_.vanished +
                                 outcome_.disabled + failures_.count() + outcome_.members_added +
                                 outcome_.members_removed >
                             0;
        if (!changed) {
            return;
        }
        pg::query("INSERT INTO " + current_history_table() +
                      " (at, link, mailbox, action, result, new) VALUES "
                      "(pg_catalog.clock_timestamp(), $1, '', 'import', 'done', "
                      "pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object("
                      "'read', $2::text, 'created', $3::text, 'updated', $4::text, "
                      "'vanished', $5::text, 'disabled', $6::text, 'failed', $7::text, "
                      "'members_added', $8::text, 'members_removed', $9::text)))",
                  id_, outcome_.read, outcome_.created, outcome_.updated, outcome_.vanished,
                  outcome_.disabled, failures_.count(), outcome_.members_added,
                  outcome_.members_removed);
    }

    void log_outcome(const std::string& held_back, const std::string& problem) const {
        const std::string text =
            "link \"" + link_.name + "\": read " + std::to_string(outcome_.read) + ", created " +
            std::to_string(outcome_.created) + ", updated " + std::to_string(outcome_.updated) +
            ", vanished " + std::to_string(outcome_.vanished) + ", failed " +
            std::to_string(failures_.count()) + (held_back.empty() ? "" : ", held: " + held_back) +
            (problem.empty() ? "" : ", groups: " + problem);
        const bool is_news = outcome_.created + outcome_.updated + outcome_.vanished > 0 ||
                             !held_back.empty() || !problem.empty();
        pg::log(is_news ? LOG : DEBUG1, text);
    }

    // What this run was to do is due as soon as the link runs again.
    void record_stop() {
        pg::Transaction transaction("stopping link " + link_.name, pg::Transaction::read_committed);
        pg::query("UPDATE crmsync.link_state SET last_started = NULL WHERE link = $1", id_);
        transaction.commit();
        const char* link = link_.name.c_str();
        pg::guard([&] {
            ereport(LOG,
                    (errmsg_internal("crmsync: link \"%s\": the import has ended early: link or "
                                     "target were changed",
                                     link)));
        });
    }

    // What cannot be recorded, because the disk is full, cannot make the next run wait either: so
    // this process does, for a while.
    void record_failure(const Trouble& trouble) {
        bool is_news = false;
        for (std::chrono::seconds pause{1};; pause *= 2) {
            try {
                is_news = write_failure(trouble);
                break;
            } catch (const pg::Error&) {
                pg::check_interrupts();
                if (pause > longest_wait_to_record) {
                    throw;
                }
                rest(pause);
            }
        }
        if (is_news) {
            pg::log(WARNING,
                    "link \"" + (link_.name.empty() ? std::to_string(id_) : link_.name) +
                        "\": " + trouble.message,
                    trouble.hint);
        }
    }

    // Pauses grow with every failure. Wrong credentials stop the target: trying on would lock the
    // account. Returns whether it is another failure than last time.
    bool write_failure(const Trouble& trouble) {
        const std::string text =
            trouble.message + (trouble.hint.empty() ? "" : " (" + trouble.hint + ")");
        pg::Transaction transaction("recording a failure of link " + std::to_string(id_),
                                    pg::Transaction::read_committed);
        const bool is_news =
            pg::query(
                "SELECT NOT EXISTS (SELECT FROM crmsync.link_state WHERE link = $1 "
                "AND attempts > 0 AND last_error = $2)",
                id_, std::string_view(text))
                .boolean(0, 0);
        pg::query(
            "INSERT INTO crmsync.link_state AS s (link, last_started, last_error, code, "
            "last_error_at, broken, attempts, next_attempt) SELECT id, "
            "pg_catalog.clock_timestamp(), $2, $4, pg_catalog.clock_timestamp(), "
            "CASE WHEN $3 THEN $2 END, 1, pg_catalog.clock_timestamp() + interval '30 s' "
            "FROM crmsync.link WHERE id = $1 ON CONFLICT (link) DO UPDATE "
            // Of this run, however early it failed: sync tells by it whose failure this is.
            "SET last_started = greatest(s.last_started, (SELECT a.backend_start FROM "
            "pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a)), "
            "last_error = excluded.last_error, code = excluded.code, "
            "last_error_at = excluded.last_error_at, broken = excluded.broken, "
            "attempts = s.attempts + 1, "
            "next_attempt = pg_catalog.clock_timestamp() + least(interval '30 s' * "
            "pg_catalog.power(2, least(s.attempts, 10)), interval '1 hour')",
            id_, std::string_view(text), trouble.is_broken, std::string_view(trouble.code));
        if (trouble.of_target) {
            pg::query(
                "INSERT INTO crmsync.target_state AS s (target, attempts, code, message, since, "
                "next_attempt) SELECT name, 1, $2, $3, pg_catalog.clock_timestamp(), "
                "CASE WHEN NOT $4 THEN pg_catalog.clock_timestamp() + interval '30 s' END "
                "FROM crmsync.target WHERE name = $1 "
                "ON CONFLICT (target) DO UPDATE SET attempts = s.attempts + 1, "
                "code = excluded.code, message = excluded.message, "
                "since = coalesce(s.since, excluded.since), next_attempt = CASE WHEN NOT $4 THEN "
                "pg_catalog.clock_timestamp() + least(interval '30 s' * "
                "pg_catalog.power(2, least(s.attempts, 10)), interval '1 hour') END",
                std::string_view(link_.target), std::string_view(trouble.code),
                std::string_view(text), trouble.stops_target);
        }
        transaction.commit();
        return is_news;
    }

    int id_;
    DirectoryLink link_;
    DirectoryOutcome outcome_;
    DirectoryFailures failures_{link_};
};

void run_import() {
    configure_session("60s");
    pg::allow_long_queries();
    try {
        DirectoryRun(run_link()).run();
    } catch (const pg::ExtensionBusy&) {
        // The extension is being dropped or updated: the next run does what this one did not.
        note_version();
    }
}

}  // namespace

}  // namespace crmsync

extern "C" {

PGDLLEXPORT void crmsync_directory_main(Datum database);

void crmsync_directory_main(Datum database) {
    crmsync::connect_run(database);
    crmsync::pg::enter(crmsync::run_import);
}
}
