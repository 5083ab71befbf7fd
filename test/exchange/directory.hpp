// The mailboxes of the server by address, by id, and by former address.
#pragma once

#include "mailbox.hpp"

#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace stand_in {

using MailboxPtr = std::shared_ptr<Mailbox>;

class Directory {
  public:
    /// The mailbox of an address, in whatever case; null when there is none.
    MailboxPtr find(std::string_view address) const;
    MailboxPtr find(const Guid& guid) const;
    /// The primary address behind a secondary one; empty when it is none.
    std::string primary_of(std::string_view secondary) const;

    /// False when the address exists already.
    bool create(std::string_view address);
    bool remove(std::string_view address);
    /// `keep_old` leaves the old address as a secondary one.
    bool rename(std::string_view from, std::string_view to, bool keep_old);
    void clear();

    std::vector<MailboxPtr> all() const;

  private:
    mutable std::shared_mutex mutex_;
    std::map<std::string, MailboxPtr, std::less<>> by_address_;
    std::map<Guid, MailboxPtr> by_guid_;
    std::map<std::string, std::string, std::less<>> secondary_;
};

/// The SID that impersonation may name instead of the address.
std::string sid_of(const Mailbox& mailbox);

/// ASCII lower case, as addresses compare.
std::string lower_case(std::string_view text);

}  // namespace stand_in
