#include "directory/name.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <ldap.h>
#include <wctype.h>

#include "directory/attribute.h"
#include "record/text.h"

namespace crmsync::directory {

namespace {

struct DnDeleter {
    void operator()(LDAPRDN* dn) const noexcept { ldap_dnfree(dn); }
};
using Dn = std::unique_ptr<LDAPRDN, DnDeleter>;

Dn parse(std::string_view text) {
    const std::string copy(text);
    LDAPDN dn = nullptr;
    if (copy.find('\0') != std::string::npos ||
        ldap_str2dn(copy.c_str(), &dn, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS) {
        return nullptr;
    }
    return Dn(dn);
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Letters beyond ASCII, too: servers compare them without case, while the locale of the database
// may not know them.
std::string lower_letters(std::string_view text, locale_t unicode) {
    std::string lowered;
    while (!text.empty()) {
        const auto [c, length] = record::decode(text);
        text.remove_prefix(length);
        const auto small = static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), unicode));
        // None becomes an ASCII letter: a name with a dotted capital I is not the one with an i.
        record::append_utf8(lowered, small < 0x80 ? c : small);
    }
    return lowered;
}

void lower_letters(LDAPAVA& part) {
    static const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    const std::string_view text(part.la_value.bv_val, part.la_value.bv_len);
    const bool is_ascii = std::none_of(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
    if (is_ascii || unicode == nullptr || (part.la_flags & LDAP_AVA_FREE_VALUE) == 0 ||
        !is_utf8(text)) {
        return;
    }
    const std::string lowered = lower_letters(text, unicode);
    berval copy{};
    if (ber_str2bv(lowered.c_str(), lowered.size(), 1, &copy) != nullptr) {
        ber_memfree(part.la_value.bv_val);
        part.la_value = copy;
    }
}

void make_lower(berval& value) {
    std::transform(value.bv_val, value.bv_val + value.bv_len, value.bv_val, lower);
}

void squeeze_spaces(berval& value) {
    char* end = std::unique(value.bv_val, value.bv_val + value.bv_len,
                            [](char left, char right) { return left == ' ' && right == ' '; });
    value.bv_len = static_cast<ber_len_t>(end - value.bv_val);
    *end = '\0';
}

bool before(const LDAPAVA* left, const LDAPAVA* right) {
    const auto view = [](const berval& value) {
        return std::string_view(value.bv_val, value.bv_len);
    };
    return std::pair(view(left->la_attr), view(left->la_value)) <
           std::pair(view(right->la_attr), view(right->la_value));
}

}  // namespace

std::string normalise_dn(std::string_view dn) {
    const Dn parsed = parse(dn);
    char* printed = nullptr;
    if (parsed) {
        for (LDAPRDN* rdn = parsed.get(); *rdn != nullptr; ++rdn) {
            LDAPAVA** end = *rdn;
            for (; *end != nullptr; ++end) {
                make_lower((*end)->la_attr);
                if (((*end)->la_flags & LDAP_AVA_BINARY) == 0) {
                    make_lower((*end)->la_value);
                    squeeze_spaces((*end)->la_value);
                    lower_letters(**end);
                }
            }
            std::sort(*rdn, end, before);
        }
        ldap_dn2str(parsed.get(), &printed, LDAP_DN_FORMAT_LDAPV3);
    }
    std::string text;
    if (printed != nullptr) {
        text = printed;
        ldap_memfree(printed);
    } else {
        std::transform(dn.begin(), dn.end(), std::back_inserter(text), lower);
    }
    return text;
}

std::optional<std::string> rdn_value(std::string_view dn, std::string_view attribute) {
    const Dn parsed = parse(dn);
    if (!parsed || *parsed == nullptr) {
        return std::nullopt;
    }
    for (LDAPAVA** part = *parsed; *part != nullptr; ++part) {
        const berval& name = (*part)->la_attr;
        const berval& value = (*part)->la_value;
        if (same_name({name.bv_val, name.bv_len}, attribute)) {
            return std::string(value.bv_val, value.bv_len);
        }
    }
    return std::nullopt;
}

bool is_dn(std::string_view text) {
    const Dn parsed = parse(text);
    return parsed && *parsed != nullptr;
}

bool lies_below(std::string_view dn, std::string_view base) {
    const std::string lower_dn = normalise_dn(dn);
    const std::string lower_base = normalise_dn(base);
    if (lower_base.empty() || lower_dn == lower_base) {
        return true;
    }
    return lower_dn.size() > lower_base.size() && lower_dn.ends_with(lower_base) &&
           lower_dn[lower_dn.size() - lower_base.size() - 1] == ',';
}

}  // namespace crmsync::directory
