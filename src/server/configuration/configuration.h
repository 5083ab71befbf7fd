// What administrators configured, as the worker uses it: read when it has changed, not every cycle.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "record/record.h"
#include "server/configuration/target_configuration.h"
#include "server/postgres/query.h"
#include "sync/categories.h"
#include "sync/decision.h"

namespace crmsync {

struct GuardLimits {
    std::int64_t max_deletes = 500;
    std::int64_t max_delete_percent = 25;
    std::int64_t min_deletes = 20;
};

using ValueMap = std::map<std::string, std::string>;

// How one property of the layout comes into the CRM.
struct InboundField {
    std::string column;  // quoted; empty: it does not come in
    std::optional<std::size_t>
        child;               // the child row that the column is of; none: the source's own
    std::string expression;  // SQL for the column's value, over v.vN, the property as text
    std::string restoring;   // for a value that the CRM has had: nothing is to be made of it again
    std::optional<ValueMap> crm_values;   // by property value: all that value_map names
    std::optional<std::size_t> fallback;  // the property that stands in where this one is absent
    record::Value constant;               // or the value that does
};

// A column that only rows made of new items get.
struct NewRowColumn {
    std::string column;      // quoted
    std::string expression;  // SQL, over v.mailbox, the address of the mailbox
};

// The row of another table that some properties of a link are columns of. All names are quoted.
struct ChildRow {
    std::string relation;
    std::string column;  // holds the record's key
    std::string column_type;
    std::string query;  // record, mapped values and primary key, of the rows c of the records $1
    std::string fixed_columns;  // what all such rows have, each with a comma before it
    std::string fixed_values;
    std::vector<std::size_t> places;  // in the layout, parallel to the mapped columns
    std::vector<std::pair<std::string, std::string>> primary_key;  // columns and their types
};

struct LinkConfiguration {
    int id = 0;
    std::string name;
    std::string target;
    std::vector<std::string> targets;  // that its mailboxes are at; its own, if all are there
    std::string object_name;
    bool enabled = false;  // else only its items are taken back, and little of the rest is read
    bool retired = false;  // it goes with the last of its items
    Oid owner = InvalidOid;
    sync::Rules rules;
    std::shared_ptr<const sync::Rules> kept_rules;  // the same, for values that outlive this
    std::string folder;
    bool hard_delete = false;
    GuardLimits guard;
    std::optional<std::chrono::seconds> interval;  // LDAP: between runs; else: between readings
    std::optional<std::chrono::seconds> outbound_interval;  // between looks at what has changed
    bool reads = false;    // the mailboxes of an Exchange link are read, too
    bool inbound = false;  // and what is in them comes into the CRM
    std::string source;    // quoted, as are all names here
    bool rows_can_be_locked = true;
    bool is_view = false;  // then only where its query lets them be
    std::string apply;     // the function that writes what comes in; empty: we do
    std::string key;
    std::string key_type;
    std::vector<InboundField> fields_in;          // of an inbound link: parallel to rules.layout
    std::vector<ChildRow> children;               // of an inbound link
    std::vector<std::vector<std::size_t>> alike;  // of these, those that differ by position only
    std::vector<NewRowColumn> new_row_columns;
    std::vector<std::size_t> match_on;  // places of the properties by which new items are known
    bool takes_oldest = false;          // of several that match
    std::string key_property;           // user-defined field in which items bear the key, too
    std::string audience_in_query;      // the audience of mailboxes; of an inbound link
    sync::Categories categories;        // of the items that come in
    bool brings_private = false;        // items that their users show to nobody come in, too
    std::vector<std::optional<ValueMap>> value_maps;  // parallel to rules.layout
    std::string source_query;
    std::string content_query;   // for what travels apart; empty: nothing does
    std::string key_query;       // all records; of a link that reads
    std::string match_query;     // what match_on names of records
    std::string audience_query;  // empty: there is no audience, and nothing is created
    std::string audience_all_query;
    std::string modified_query;                   // when rows were changed last; empty: nobody asks
    std::string mailboxes_query;                  // empty: whom the audience names takes part
    std::string problem;                          // why the link cannot work
    int problem_code = ERRCODE_UNDEFINED_OBJECT;  // the SQLSTATE of it
};

struct Configuration {
    std::string instance;  // first part of every stamp
    bool identity_confirmed = false;
    std::map<std::string, TargetConfiguration> targets;
    std::map<int, LinkConfiguration> links;  // those that are served
};

// A text that changes whenever the configuration does; cheap enough for every cycle. Requires a
// transaction.
std::string configuration_fingerprint();

// With the links that are enabled or whose items are withdrawn, and with the link of this name in
// any case. Requires a transaction. Throws pg::Error; a link or target that makes no sense has a
// problem.
Configuration read_configuration(const std::string& link = {});

// The name of a role, quoted for use in SQL.
std::string role_name(Oid role);

}  // namespace crmsync
