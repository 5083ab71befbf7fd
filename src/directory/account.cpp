#include "directory/account.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

#include "directory/attribute.h"

namespace crmsync::directory {

namespace {

template <class Number>
Number parse_number(std::string_view text, Number otherwise) {
    Number value = otherwise;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

bool has_expired(std::int64_t expires, std::chrono::system_clock::time_point now) {
    using Ticks = std::chrono::duration<std::int64_t, std::ratio<1, 10'000'000>>;
    constexpr std::int64_t epoch = 116'444'736'000'000'000;  // 1970 in ticks since 1601
    if (expires == 0 || expires == std::numeric_limits<std::int64_t>::max()) {
        return false;
    }
    return Ticks(expires - epoch) <= std::chrono::duration_cast<Ticks>(now.time_since_epoch());
}

}  // namespace

void AccountState::consider(std::string_view name, std::string_view value) {
    constexpr std::uint64_t account_disable = 0x2;
    constexpr std::string_view no_year = "0000";
    constexpr std::string_view no_unlocking = "19700101000000";
    const std::string_view base = base_name(name);
    if (same_name(base, "userAccountControl")) {
        // Active Directory stores it as a signed number.
        const auto flags = static_cast<std::uint64_t>(parse_number<std::int64_t>(value, 0));
        enabled_ = enabled_ && (flags & account_disable) == 0;
    } else if (same_name(base, "accountExpires")) {
        enabled_ = enabled_ && !has_expired(parse_number<std::int64_t>(value, 0), now_);
    } else if (same_name(base, "nsAccountLock") || same_name(base, "loginDisabled") ||
               same_name(base, "msDS-UserAccountDisabled") ||
               same_name(base, "ds-pwp-account-disabled")) {
        enabled_ = enabled_ && !same_name(value, "TRUE");
    } else if (same_name(base, "pwdAccountLockedTime")) {
        enabled_ = enabled_ && !value.starts_with(no_year);
    } else if (same_name(base, "accountUnlockTime")) {
        enabled_ = enabled_ && !value.starts_with(no_unlocking);
    }
}

bool hides_account_state(const ServerKind& kind, const Entry& entry) {
    if (!kind.is_active_directory || kind.is_lightweight) {
        return false;
    }
    const Attribute* control = entry.find("userAccountControl");
    if (control != nullptr && !control->values.empty()) {
        return false;
    }
    // Whose classes we are not shown either may be a user.
    const Attribute* classes = entry.find("objectClass");
    return classes == nullptr || classes->values.empty() ||
           std::any_of(classes->values.begin(), classes->values.end(),
                       [](std::string_view name) { return same_name(name, "user"); });
}

}  // namespace crmsync::directory
