#include "directory.hpp"

#include <mutex>

namespace stand_in {

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return lower;
}

std::string sid_of(const Mailbox& mailbox) {
    std::string sid = "S-1-5-21";
    for (std::size_t word = 0; word < 4; ++word) {
        unsigned value = 0;
        for (std::size_t i = 0; i < 4; ++i)
            value = value << 8 | mailbox.guid[4 * word + i];
        sid += "-" + std::to_string(value);
    }
    return sid;
}

MailboxPtr Directory::find(std::string_view address) const {
    std::shared_lock lock(mutex_);
    auto found = by_address_.find(lower_case(address));
    return found == by_address_.end() ? nullptr : found->second;
}

MailboxPtr Directory::find(const Guid& guid) const {
    std::shared_lock lock(mutex_);
    auto found = by_guid_.find(guid);
    return found == by_guid_.end() ? nullptr : found->second;
}

std::string Directory::primary_of(std::string_view secondary) const {
    std::shared_lock lock(mutex_);
    auto found = secondary_.find(lower_case(secondary));
    return found == secondary_.end() ? std::string() : found->second;
}

bool Directory::create(std::string_view address) {
    std::unique_lock lock(mutex_);
    std::string key = lower_case(address);
    if (by_address_.contains(key))
        return false;
    auto created = std::make_shared<Mailbox>(key);
    by_guid_.emplace(created->guid, created);
    by_address_.emplace(key, created);
    secondary_.erase(key);
    return true;
}

bool Directory::remove(std::string_view address) {
    std::unique_lock lock(mutex_);
    auto found = by_address_.find(lower_case(address));
    if (found == by_address_.end())
        return false;
    by_guid_.erase(found->second->guid);
    by_address_.erase(found);
    return true;
}

bool Directory::rename(std::string_view from, std::string_view to, bool keep_old) {
    std::unique_lock lock(mutex_);
    auto found = by_address_.find(lower_case(from));
    std::string key = lower_case(to);
    if (found == by_address_.end() || by_address_.contains(key))
        return false;
    MailboxPtr renamed = found->second;
    by_address_.erase(found);
    {
        std::lock_guard content(renamed->mutex);
        renamed->address = key;
    }
    if (keep_old)
        secondary_[lower_case(from)] = key;
    by_address_.emplace(key, std::move(renamed));
    return true;
}

void Directory::clear() {
    std::unique_lock lock(mutex_);
    by_address_.clear();
    by_guid_.clear();
    secondary_.clear();
}

std::vector<MailboxPtr> Directory::all() const {
    std::shared_lock lock(mutex_);
    std::vector<MailboxPtr> mailboxes;
    for (const auto& [address, mailbox] : by_address_)
        mailboxes.push_back(mailbox);
    return mailboxes;
}

}  // namespace stand_in
