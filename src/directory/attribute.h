// What attribute values mean: text forms of binary values, names with options, whether an account
// is enabled, and the escaping of values in filters. Pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace crmsync::directory {

// The name without its options, which start at the first ';' (RFC 4512, 2.5): member;range=0-1499
// and jpegPhoto;binary are member and jpegPhoto.
std::string_view base_name(std::string_view name) noexcept;

// Attribute names compare without regard to case (RFC 4512, 2.5).
bool same_name(std::string_view left, std::string_view right) noexcept;

// A value as text for the CRM:
//   objectGUID and other GUIDs of Active Directory   the canonical text of a uuid; the first three
//                                                    groups are stored little-endian
//                                                    (MS-DTYP 2.3.4)
//   objectSid                                        S-1-5-... (MS-DTYP 2.4.2)
//   anything that is not UTF-8, or a known binary    \x and hexadecimal digits, which PostgreSQL's
//   attribute such as jpegPhoto                      bytea reads
//   else                                             as it is
std::string value_text(std::string_view name, std::string_view value);

// True when value_text would return the value unchanged, so that it need not be copied.
bool is_plain_text(std::string_view name, std::string_view value) noexcept;

// The key attribute's text form back into what a filter needs, each byte as \xx (RFC 4515).
// Throws Error (configuration) when the text is not a uuid.
std::string guid_filter_value(std::string_view uuid);

// A value escaped for a filter (RFC 4515, 3).
std::string escape_filter_value(std::string_view value);

// Well-formed UTF-8 without NUL (RFC 3629), which is what PostgreSQL can hold.
bool is_utf8(std::string_view text) noexcept;

// Whether an account may be used, put together from what directories have for it:
//   userAccountControl    bit 0x2: disabled (Active Directory)
//   accountExpires        100 ns since 1601; in the past: expired. 0 and the maximum mean never
//   nsAccountLock         TRUE: locked (389 Directory Server, FreeIPA)
//   pwdAccountLockedTime  present: locked (OpenLDAP's password policy)
//   loginDisabled         TRUE (eDirectory)
class AccountState {
  public:
    // The attributes that a search must ask for.
    static constexpr std::string_view attributes[] = {"userAccountControl", "accountExpires",
                                                      "nsAccountLock", "pwdAccountLockedTime",
                                                      "loginDisabled"};

    explicit AccountState(std::chrono::system_clock::time_point now) : now_(now) {}

    void consider(std::string_view name, std::string_view value);
    bool enabled() const noexcept { return enabled_; }

  private:
    std::chrono::system_clock::time_point now_;
    bool enabled_ = true;
};

}  // namespace crmsync::directory
