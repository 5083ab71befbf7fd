// Whether an account may be used, put together from what directories have for it.
#pragma once

#include <chrono>
#include <string_view>

#include "directory/search.h"
#include "directory/server_kind.h"

namespace crmsync::directory {

// clang-format off
//   userAccountControl         bit 0x2: disabled (Active Directory)
//   accountExpires             100 ns since 1601; in the past: expired. 0 and the maximum mean never
//   msDS-UserAccountDisabled   TRUE (AD LDS)
//   nsAccountLock              TRUE: locked (389 Directory Server, FreeIPA)
//   accountUnlockTime          19700101000000Z: locked until an administrator says otherwise (389
//                              Directory Server)
//   ds-pwp-account-disabled    true (OpenDJ, PingDS, Oracle Unified Directory)
//   loginDisabled              TRUE (eDirectory)
//   pwdAccountLockedTime       000001010000Z: locked until an administrator says otherwise (the
//                              password policy of OpenLDAP and others)
// clang-format on
// Any other time is that of a lock after wrong passwords, which ends by itself.
class AccountState {
  public:
    // The attributes that a search must ask for.
    static constexpr std::string_view attributes[] = {
        "userAccountControl", "accountExpires",      "msDS-UserAccountDisabled",
        "nsAccountLock",      "accountUnlockTime",   "ds-pwp-account-disabled",
        "loginDisabled",      "pwdAccountLockedTime"};

    explicit AccountState(std::chrono::system_clock::time_point now) : now_(now) {}

    void consider(std::string_view name, std::string_view value);
    bool enabled() const noexcept { return enabled_; }

  private:
    std::chrono::system_clock::time_point now_;
    bool enabled_ = true;
};

// Whether the entry is a user of Active Directory whose userAccountControl we are not shown: he has
// one, and would look enabled. Contacts have none. AD LDS keeps the state elsewhere. The search
// must have asked for objectClass, too.
bool hides_account_state(const ServerKind& kind, const Entry& entry);

}  // namespace crmsync::directory
