#include "sync/categories.h"

#include <algorithm>

#include "record/text.h"

namespace crmsync::sync {

namespace {

bool any_in(const std::set<std::string>& names, const std::vector<std::string>& categories) {
    return std::any_of(categories.begin(), categories.end(), [&](const std::string& category) {
        return names.contains(category_name(category));
    });
}

}  // namespace

std::string category_name(const std::string& name) {
    return record::lower_ascii(record::trimmed(name));
}

bool are_wanted(const Categories& rule, const std::vector<std::string>& categories) {
    return (rule.only.empty() || any_in(rule.only, categories)) && !any_in(rule.none, categories);
}

}  // namespace crmsync::sync
