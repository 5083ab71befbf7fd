// What an LDAP link is told to do: its server, its search, and where values go in the CRM.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "directory/connection.h"
#include "directory/search.h"
#include "server/configuration/configuration.h"

namespace crmsync {

// Of take_run_lock().
constexpr std::int32_t import_lock = 0x63726d73;

// One column of the CRM and the property it comes from.
struct DirectoryMapping {
    std::string property;   // an attribute, or @dn, @key, @enabled
    std::string column;     // quoted identifier
    int column_number = 0;  // another one when the column was dropped and made again
    std::string type;       // SQL name of the column's type, without length
    bool column_is_key = false;
    std::optional<std::map<std::string, std::string>> value_map;  // directory value to CRM value
    std::string fallback_property;  // read when the property is absent
    std::optional<std::string> fallback_constant;
    std::string inbound;  // SQL expression over $1; empty: the value itself
};

struct DirectoryConstant {
    std::string column;
    std::string type;
    std::string expression;
};

struct DirectoryGroup {
    std::string ldap_group;
    std::string crm_group;
    std::string value;  // SQL for what the group column gets
};

// Where the CRM keeps memberships; the option memberships.
struct DirectoryMemberships {
    std::string table;        // qualified and quoted
    bool has_rules = false;   // for inserts or updates, which forbid ON CONFLICT
    std::string user_column;  // quoted, likewise the others
    std::string user_type;
    std::string group_column;
    std::string group_type;
    struct Fixed {
        std::string column;
        std::string type;
        std::optional<std::string> value;
    };
    std::vector<Fixed> fixed;
};

struct DirectoryLink {
    int id = 0;
    std::string name;
    std::string target;
    bool runs = false;    // enabled, and its target neither paused nor stopped
    std::string version;  // another one when link or target were changed
    Oid owner = InvalidOid;

    directory::Server server;
    std::string base;
    directory::Scope scope = directory::Scope::sub;
    std::string filter;  // empty: persons
    int page_size = 0;   // 0: as suits the server
    bool nested = false;
    bool exclusive = false;
    std::int64_t grace_seconds = 0;

    std::string source;      // qualified and quoted
    std::string key_column;  // quoted
    std::string key_type;
    std::string key_default;  // SQL expression; empty: the key must be mapped
    bool key_is_always_generated = false;
    bool triggers_may_interfere = false;  // with inserts: row triggers before or instead, or rules
    std::vector<DirectoryMapping> mappings;
    std::vector<DirectoryConstant> constants;
    std::vector<int> match_on;  // positions in mappings
    bool disables_vanished = true;

    std::vector<DirectoryGroup> groups;
    std::optional<DirectoryMemberships> memberships;

    GuardLimits guard;

    bool compares_everything = false;   // a resync: also with what the CRM has changed
    std::int64_t comparison_asked = 0;  // how often, until this run
    int mailbox = 0;                    // the row that all entries of the link belong to
    bool had_items = false;             // from earlier runs

    bool keeps_memberships() const { return memberships.has_value() && !groups.empty(); }
    // The mapping of this property, or nullptr.
    const DirectoryMapping* find(std::string_view property) const;
};

// Reads the link in the current transaction and makes its mailbox row. Throws pg::UserError when it
// cannot work as it is configured.
DirectoryLink read_directory_link(int id);

// The run must end where it is, without an error.
struct RunStopped {};

// Throws RunStopped when the link was disabled, dropped or altered since it was read, or its target
// was paused. Cheap; in the current transaction.
void check_still_runs(const DirectoryLink& link);

// The server of a target, also for check_target.
directory::Server read_directory_server(const std::string& target);

}  // namespace crmsync
