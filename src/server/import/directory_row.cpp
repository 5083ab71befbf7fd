#include "server/import/directory_row.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "directory/account.h"
#include "directory/attribute.h"
#include "directory/error.h"
#include "directory/name.h"
#include "server/postgres/encoding.h"

extern "C" {
#include "common/hashfn.h"
}

namespace crmsync {

namespace {

constexpr std::array login_attributes = {"uid", "sAMAccountName"};

std::uint64_t hash(std::string_view text, std::uint64_t seed) {
    return hash_bytes_extended(reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()), seed);
}

// 48 bits: the chance that a change goes unnoticed is that of one in 10^14 changes.
std::string hash_text(std::uint64_t hash) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string hexadecimal(DirectoryRowReader::hash_length, '0');
    for (std::size_t i = 0; i < hexadecimal.size(); ++i) {
        hexadecimal[i] = digits[hash >> (4 * i) & 15];
    }
    return hexadecimal;
}

// Where a value comes from and goes to, and what is made of it there. A value map or fallback is no
// part of it: the value is what they have made, and where that is the same nothing has changed.
std::string describe(const DirectoryMapping& mapping) {
    return mapping.property + '\n' + mapping.column + '\n' + std::to_string(mapping.column_number) +
           '\n' + mapping.type + '\n' + mapping.inbound;
}

// Several values come in no order. The one that the entry is named by is chosen, or else the
// smallest, so that the choice does not change by itself.
std::string_view chosen(const directory::Entry& entry, const directory::Attribute& attribute) {
    const auto& values = attribute.values;
    if (values.size() > 1) {
        if (const auto name =
                directory::rdn_value(entry.dn, directory::base_name(attribute.name))) {
            const auto named = std::find_if(
                values.begin(), values.end(),
                [&](std::string_view value) { return directory::same_name(value, *name); });
            if (named != values.end()) {
                return *named;
            }
        }
    }
    return *std::min_element(values.begin(), values.end());
}

void add(std::vector<std::string>& attributes, std::string_view name) {
    if (!name.empty() && name.front() != '@' &&
        std::none_of(attributes.begin(), attributes.end(), [name](const std::string& known) {
            return directory::same_name(known, name);
        })) {
        attributes.emplace_back(name);
    }
}

}  // namespace

DirectoryRowReader::DirectoryRowReader(const DirectoryLink& link, const directory::ServerKind& kind)
    : link_(link), kind_(kind), reads_state_(link.find("@enabled") != nullptr) {
    for (const DirectoryMapping& mapping : link.mappings) {
        const std::uint64_t seed = hash(describe(mapping), 0);
        seeds_.push_back(seed);
        absent_.push_back(hash_text(hash("absent", ~seed)));
    }
}

std::vector<std::string> DirectoryRowReader::attributes() const {
    std::vector<std::string> names = {kind_.key_attribute};
    for (const DirectoryMapping& mapping : link_.mappings) {
        add(names, mapping.property);
        add(names, mapping.fallback_property);
    }
    if (reads_state_) {
        if (kind_.is_active_directory) {
            add(names, "objectClass");
        }
        for (const std::string_view name : directory::AccountState::attributes) {
            add(names, name);
        }
    }
    if (link_.keeps_memberships()) {
        for (const char* name : login_attributes) {
            add(names, name);
        }
    }
    return names;
}

bool DirectoryRowReader::read_property(const directory::Entry& entry, const std::string& property,
                                       const DirectoryRow& row, std::string& value) const {
    if (property == "@dn") {
        value = row.dn;
    } else if (property == "@key") {
        value = row.key;
    } else if (property == "@enabled") {
        directory::AccountState state(now_);
        for (std::size_t i = 0; i < entry.attribute_count; ++i) {
            const directory::Attribute& attribute = entry.attributes[i];
            if (!attribute.values.empty()) {
                state.consider(attribute.name, attribute.values.front());
            }
        }
        value = state.enabled() ? "true" : "false";
    } else {
        const directory::Attribute* attribute = entry.find(property);
        if (attribute == nullptr || attribute->values.empty()) {
            return false;
        }
        const std::string_view bytes = chosen(entry, *attribute);
        if (directory::is_plain_text(attribute->name, bytes)) {
            value = bytes;
        } else {
            value = directory::value_text(attribute->name, bytes);
        }
    }
    return true;
}

// Returns whether the value is what the directory has.
bool DirectoryRowReader::read_value(const directory::Entry& entry, std::size_t position,
                                    DirectoryRow& row) const {
    const DirectoryMapping& mapping = link_.mappings[position];
    std::string& value = row.values[position];
    bool found = read_property(entry, mapping.property, row, value);
    std::string stray;
    if (found && mapping.value_map) {
        const auto mapped = mapping.value_map->find(value);
        found = mapped != mapping.value_map->end();
        if (found) {
            value = mapped->second;
        } else {
            stray = "the value map of " + mapping.column + " has no entry for \"" + value +
                    "\" of " + mapping.property;
        }
    }
    if (!found && !mapping.fallback_property.empty()) {
        found = read_property(entry, mapping.fallback_property, row, value);
    }
    if (!found && mapping.fallback_constant) {
        value = *mapping.fallback_constant;
        found = true;
    }
    row.is_null[position] = !found;
    if (!found && !stray.empty()) {
        row.problem = std::move(stray);
        return false;
    }
    if (const auto problem = found ? pg::encoding_problem(value) : std::nullopt) {
        row.problem = mapping.property + ": " + *problem;
        return false;
    }
    return true;
}

// Nobody is recognised by nothing.
void DirectoryRowReader::make_unrecognisable(DirectoryRow& row) const {
    for (const int position : link_.match_on) {
        row.is_null[static_cast<std::size_t>(position)] = true;
    }
}

void DirectoryRowReader::read(const directory::Entry& entry, DirectoryRow& row) const {
    row.dn = directory::value_text({}, entry.dn);
    const directory::Attribute* key = entry.find(kind_.key_attribute);
    if (key == nullptr || key->values.empty()) {
        throw directory::Error(directory::ErrorKind::denied,
                               "entry \"" + row.dn + "\" does not show its " + kind_.key_attribute,
                               "let the account read that attribute: entries are known by it");
    }
    if (reads_state_ && directory::hides_account_state(kind_, entry)) {
        throw directory::Error(
            directory::ErrorKind::denied,
            "entry \"" + row.dn + "\" does not show its userAccountControl",
            "let the account read that attribute: without it who is disabled looks enabled");
    }
    row.key = directory::value_text(key->name, key->values.front());
    row.problem = directory::is_utf8(entry.dn) ? "" : "the name of the entry is not valid UTF-8";
    row.values.resize(link_.mappings.size());
    row.is_null.resize(link_.mappings.size());
    row.change_key.clear();
    bool is_recognisable = true;
    for (std::size_t i = 0; i < link_.mappings.size(); ++i) {
        if (!read_value(entry, i, row)) {
            const auto& names = link_.match_on;
            is_recognisable = is_recognisable && std::find(names.begin(), names.end(),
                                                           static_cast<int>(i)) == names.end();
        }
        row.change_key += row.is_null[i] ? absent_[i] : hash_text(hash(row.values[i], seeds_[i]));
    }
    if (!is_recognisable) {
        make_unrecognisable(row);
    }
    if (link_.keeps_memberships()) {
        row.name = directory::value_text({}, directory::normalise_dn(entry.dn));
        row.login.clear();
        for (const char* name : login_attributes) {
            const directory::Attribute* login = row.login.empty() ? entry.find(name) : nullptr;
            if (login == nullptr) {
                continue;
            }
            for (const std::string_view value : login->values) {
                row.login += (row.login.empty() ? "" : DirectoryRow::login_separator) +
                             directory::value_text(login->name, value);
            }
        }
    }
}

std::optional<std::string> DirectoryRowReader::disabled_value(std::size_t position) const {
    const DirectoryMapping& mapping = link_.mappings[position];
    const std::string text = "false";
    if (mapping.property != "@enabled") {
        return std::nullopt;
    }
    if (!mapping.value_map) {
        return text;
    }
    const auto mapped = mapping.value_map->find(text);
    return mapped == mapping.value_map->end() ? mapping.fallback_constant
                                              : std::optional(mapped->second);
}

std::string DirectoryRowReader::left_mark(std::size_t position) const {
    return hash_text(hash("left", ~seeds_[position]));
}

}  // namespace crmsync
