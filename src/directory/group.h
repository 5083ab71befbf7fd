// Who is a member of a group, however the directory says so: member and uniqueMember hold names of
// entries, memberUid login names (RFC 2307), and Active Directory keeps the primary group in the
// user. Groups within groups are followed one by one: that works on every server, while the
// matching rule for chains finds nothing, without an error, where it is not known.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "directory/connection.h"
#include "directory/schema.h"
#include "directory/search.h"
#include "directory/server_kind.h"

namespace crmsync::directory {

enum class MemberForm { dn, login };

struct MemberQuery {
    std::string base;         // of the users: for primary groups, and to find groups by name
    std::string user_filter;  // which entries are users
    bool nested = false;
    int page_size = 1000;
};

// dn: the member's DN, normalised (see name.h); login: its user name.
using MemberSink = std::function<void(MemberForm form, std::string_view member)>;

class GroupReader {
  public:
    // What is passed by reference must outlive the reader.
    GroupReader(Connection& connection, const ServerKind& kind, const MemberQuery& query)
        : connection_(connection), kind_(kind), query_(query) {}

    // Calls the sink for each member of the group, which is a DN or the name (cn) of a group in the
    // naming context of the base. Some come more than once; with nested, groups within it come too.
    // Throws Error: not_found when there is no such group, since that must not be taken for a group
    // without members; denied when its members are hidden, as far as that can be seen;
    // configuration when the name fits several groups.
    void read(const std::string& group, const MemberSink& sink);

  private:
    std::string find(const std::string& group);
    void read_one(const std::string& dn, const MemberSink& sink,
                  const std::function<void(const std::string& normalised)>& found_member);
    void require_shown(const std::string& dn);
    std::string relative_identifier(const std::string& dn);
    void read_primary_members(const std::string& dn, const MemberSink& sink);
    const std::unordered_set<std::string>& all_groups();
    Query below_context(std::string filter) const;

    Connection& connection_;
    const ServerKind& kind_;
    const MemberQuery& query_;
    std::optional<std::unordered_set<std::string>> all_groups_;
    std::optional<Error> unlisted_;  // why they are not known
    std::optional<Schema> schema_;
};

}  // namespace crmsync::directory
