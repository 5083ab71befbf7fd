// Which items of users come in, by the categories that they bear (link option inbound_categories).
#pragma once

#include <set>
#include <string>
#include <vector>

namespace crmsync::sync {

struct Categories {
    std::set<std::string> only;  // one of these; empty: whatever there is
    std::set<std::string> none;  // none of these
};

// Names are compared without regard to the case of Latin letters, as Outlook's users see them.
bool are_wanted(const Categories& rule, const std::vector<std::string>& categories);

// As they have to be in a rule.
std::string category_name(const std::string& name);

}  // namespace crmsync::sync
