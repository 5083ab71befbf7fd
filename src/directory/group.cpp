#include "directory/group.h"

#include <deque>
#include <string>
#include <vector>

#include "directory/attribute.h"
#include "directory/name.h"

namespace crmsync::directory {

namespace {

constexpr std::string_view group_filter =
    "(|(objectClass=group)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)"
    "(objectClass=groupOfMembers)(objectClass=posixGroup))";

// Classes whose entries have members, by the standard (RFC 4519, 3.5 and 3.6), and where.
struct NeverEmpty {
    const char* object_class;
    const char* attribute;
};
constexpr NeverEmpty never_empty[] = {{"groupOfNames", "member"},
                                      {"groupOfUniqueNames", "uniqueMember"}};

// uniqueMember may end in a bit string that tells apart uses of one name (RFC 4517, 3.3.21).
std::string_view without_identifier(std::string_view name) {
    const std::size_t at = name.rfind("#'");
    return at != std::string_view::npos && name.ends_with("'B") ? name.substr(0, at) : name;
}

}  // namespace

Query GroupReader::below_context(std::string filter) const {
    Query query;
    query.base = kind_.context_of(query_.base);
    query.filter = std::move(filter);
    query.page_size = kind_.supports_paging ? query_.page_size : 0;
    query.ignore_references = true;
    return query;
}

std::string GroupReader::find(const std::string& group) {
    if (is_dn(group)) {
        return group;
    }
    std::vector<std::string> found;
    search(connection_,
           below_context("(&" + std::string(group_filter) + "(cn=" + escape_filter_value(group) +
                         "))"),
           [&](const Entry& entry) { found.emplace_back(entry.dn); });
    if (found.empty()) {
        throw Error(ErrorKind::not_found, "there is no group named \"" + group + "\"",
                    "check map_group; a group can also be given by its distinguished name");
    }
    if (found.size() > 1) {
        throw Error(ErrorKind::configuration,
                    "several groups are named \"" + group + "\": " + found[0] + " and " + found[1],
                    "give map_group the distinguished name of the one that is meant");
    }
    return found[0];
}

// There are far fewer groups than members, so they are listed once instead of asking for each
// member whether it is one. What cannot be listed for one group cannot be for the next, and may
// have taken all the time that the server allows.
const std::unordered_set<std::string>& GroupReader::all_groups() {
    if (unlisted_) {
        throw Error(*unlisted_);
    }
    if (!all_groups_) {
        std::unordered_set<std::string> groups;
        try {
            search(connection_, below_context(std::string(group_filter)),
                   [&](const Entry& entry) { groups.insert(normalise_dn(entry.dn)); });
        } catch (const Error& error) {
            unlisted_ = error;
            throw;
        }
        all_groups_ = std::move(groups);
    }
    return *all_groups_;
}

void GroupReader::read(const std::string& group, const MemberSink& sink) {
    const std::string top = find(group);
    std::unordered_set<std::string> visited = {normalise_dn(top)};
    std::deque<std::string> waiting = {top};
    // Listed before the first group is read: the reader has one search under way at a time.
    const auto* groups = query_.nested ? &all_groups() : nullptr;
    while (!waiting.empty()) {
        const std::string dn = std::move(waiting.front());
        waiting.pop_front();
        read_one(dn, sink, [&](const std::string& member) {
            if (groups != nullptr && groups->contains(member) && visited.insert(member).second) {
                waiting.push_back(member);
            }
        });
    }
}

void GroupReader::read_one(const std::string& dn, const MemberSink& sink,
                           const std::function<void(const std::string&)>& found_member) {
    const std::string filter(group_filter);
    std::uint64_t count = 0;
    for (const char* attribute : {"member", "uniqueMember"}) {
        count += read_values(connection_, dn, filter, attribute, [&](std::string_view value) {
            const std::string member = normalise_dn(without_identifier(value));
            sink(MemberForm::dn, member);
            found_member(member);
        });
    }
    if (count == 0) {
        require_shown(dn);
    }
    read_values(connection_, dn, filter, "memberUid",
                [&](std::string_view value) { sink(MemberForm::login, value); });
    if (kind_.is_active_directory) {
        read_primary_members(dn, sink);
    }
}

// A group that shows no members may hide them. Where its class demands some we know. A schema that
// is not shown is taken for the standard's: rather a membership too long than all gone.
void GroupReader::require_shown(const std::string& dn) {
    const NeverEmpty* found = nullptr;
    read_values(connection_, dn, std::string(group_filter), "objectClass",
                [&](std::string_view value) {
                    for (const NeverEmpty& kind : never_empty) {
                        found = same_name(value, kind.object_class) ? &kind : found;
                    }
                });
    if (found == nullptr) {
        return;
    }
    if (!schema_) {
        schema_.emplace(connection_, kind_);
    }
    if (schema_->demands(found->object_class, found->attribute).value_or(true)) {
        throw Error(ErrorKind::denied, "group \"" + dn + "\" does not show its " + found->attribute,
                    "let the account read that attribute: the group has members");
    }
}

// The relative identifier of a group, which its users have as primaryGroupID; empty where groups
// have none. Each of Active Directory has one, though not each account may be shown it.
std::string GroupReader::relative_identifier(const std::string& dn) {
    const std::string filter(group_filter);
    std::string sid;
    read_values(connection_, dn, filter, "objectSid",
                [&](std::string_view value) { sid = value_text("objectSid", value); });
    if (!sid.empty() || kind_.is_lightweight) {
        return sid.substr(sid.rfind('-') + 1);
    }
    bool has_one = false;
    read_values(connection_, dn, filter, "objectClass",
                [&](std::string_view value) { has_one = has_one || same_name(value, "group"); });
    if (has_one) {
        throw Error(ErrorKind::denied, "group \"" + dn + "\" does not show its objectSid",
                    "let the account read that attribute: by it those are found whose primary "
                    "group it is");
    }
    return {};
}

void GroupReader::read_primary_members(const std::string& dn, const MemberSink& sink) {
    const std::string identifier = relative_identifier(dn);
    if (identifier.empty()) {
        return;
    }
    Query users;
    users.base = query_.base;
    users.filter = "(&" + query_.user_filter + "(primaryGroupID=" + identifier + "))";
    users.page_size = kind_.supports_paging ? query_.page_size : 0;
    users.ignore_references = true;
    search(connection_, users,
           [&](const Entry& entry) { sink(MemberForm::dn, normalise_dn(entry.dn)); });
}

}  // namespace crmsync::directory
